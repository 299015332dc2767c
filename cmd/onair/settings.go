package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"onair/internal/fault"
)

// settingsLimit bounds the size of a file of settings.
const settingsLimit = 1 << 20

// settings are the values of a YAML file. A key is the name of a flag of "onair
// serve"; keys of nested mappings are joined with dashes, and underscores stand for
// dashes, so that "hub: {max_feed_bytes: 1}" is --hub-max-feed-bytes=1.
type settings struct {
	file   string
	values map[string]setting
}

type setting struct {
	text         string
	line, column int
}

// readSettings reads the file. What it holds is checked against the flags later, by
// the parser.
func readSettings(file string) (*settings, error) {
	const op = "read settings"
	info, err := os.Stat(file)
	if err != nil {
		return nil, fault.Wrap(fault.NotFound, op, file, err, "Print a file to begin with: onair config default > onair.yaml.")
	}
	if info.Size() > settingsLimit {
		return nil, fault.New(fault.TooLarge, op, file, "the file is larger than 1 MiB", "Is it a file of settings?")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, op, file, err, "")
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, op, file, err, "Settings are lines of the form key: value.")
	}
	s := &settings{file: file, values: map[string]setting{}}
	var problems []error
	for _, doc := range parsed.Docs {
		if doc.Body != nil {
			problems = append(problems, s.collect("", doc.Body))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fault.Wrap(fault.Invalid, op, file, err, "")
	}
	return s, nil
}

// collect adds the scalars below a node.
func (s *settings) collect(prefix string, node ast.Node) error {
	switch n := node.(type) {
	case *ast.MappingNode:
		var problems []error
		for _, value := range n.Values {
			problems = append(problems, s.collect(prefix, value))
		}
		return errors.Join(problems...)
	case *ast.MappingValueNode:
		key := strings.ReplaceAll(strings.Trim(n.Key.String(), `"'`), "_", "-")
		if prefix != "" {
			key = prefix + "-" + key
		}
		return s.collect(key, n.Value)
	case *ast.CommentGroupNode, *ast.NullNode:
		return nil
	case ast.ScalarNode:
		at := node.GetToken().Position
		if prefix == "" {
			return fmt.Errorf("line %d: expected key: value", at.Line)
		}
		if _, twice := s.values[prefix]; twice {
			return fmt.Errorf("line %d: %s is set twice", at.Line, prefix)
		}
		s.values[prefix] = setting{text: fmt.Sprint(n.GetValue()), line: at.Line, column: at.Column}
		return nil
	default:
		return fmt.Errorf("line %d: the value of %s must be a text, a number, true or false", node.GetToken().Position.Line, prefix)
	}
}

// Validate implements kong.Resolver: every key must be a flag of serve.
func (s *settings) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, command := range app.Children {
		if command.Name == "serve" {
			for _, flag := range command.Flags {
				known[flag.Name] = true
			}
		}
	}
	var problems []error
	for key, value := range s.values {
		if !known[key] {
			problems = append(problems, fault.New(fault.Invalid, "read settings",
				fmt.Sprintf("%s:%d:%d", s.file, value.line, value.column),
				fmt.Sprintf("there is no setting %q", key), "Run onair config doc for what there is."))
		}
	}
	return errors.Join(problems...)
}

// Resolve implements kong.Resolver: the value of a flag that was given neither on the
// command line nor in the environment.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		// The parser lets a resolver win over the environment; here the environment wins.
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	if value, ok := s.values[flag.Name]; ok {
		return value.text, nil
	}
	return nil, nil
}
