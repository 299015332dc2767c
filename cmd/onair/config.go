package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"onair/internal/fault"
)

type configCommand struct {
	Check   configCheckCommand   `cmd:"" help:"Check a file of settings and the environment, without starting anything."`
	Doc     configDocCommand     `cmd:"" help:"Print the reference of all settings."`
	Default configDefaultCommand `cmd:"" help:"Print a file with every setting at its default."`
}

type configCheckCommand struct {
	File string `arg:"" optional:"" help:"The file; without it that of --config, or only the environment."`
}

// Run parses a serve command line with the file and reports every problem.
func (cmd configCheckCommand) Run(c console, given *commandLine) error {
	file := cmp.Or(cmd.File, given.ConfigFile)
	line := newCommandLine()
	parser, _ := newParser(line, file, c)
	if parser == nil {
		return errReported
	}
	if _, err := parser.Parse([]string{"serve"}); err != nil {
		return fault.Wrap(fault.Invalid, "check settings", file, err, "")
	}
	if err := line.Serve.Config.Validate(); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "The settings are fine.")
	return nil
}

type configDocCommand struct{}

// Run prints the reference as a Markdown table.
func (configDocCommand) Run(c console, app *kong.Kong) error {
	_, err := fmt.Fprint(c.out, configReference(app))
	return err
}

// configReference is the text of docs/configuration.md.
func configReference(app *kong.Kong) string {
	var b strings.Builder
	b.WriteString(`# Settings

Each setting is a flag of ` + "`onair serve`" + `, an environment variable, and a key of the file given with
` + "`--config`" + ` (the flag's name without dashes in front). A flag wins over the environment, the environment
over the file, the file over the default. This page is the output of ` + "`onair config doc`" + `.

| flag and key | environment | default | meaning |
| --- | --- | --- | --- |
`)
	for _, flag := range serveFlags(app) {
		value := flag.Default
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", flag.Name, strings.Join(flag.Envs, "`, `"), value, flag.Help)
	}
	return b.String()
}

type configDefaultCommand struct{}

// Run prints a commented YAML file.
func (configDefaultCommand) Run(c console, app *kong.Kong) error {
	if _, err := fmt.Fprintln(c.out, "# Settings of onair. What is commented out has the value shown."); err != nil {
		return err
	}
	for _, flag := range serveFlags(app) {
		value := flag.Default
		if value == "" {
			value = `""`
		}
		fmt.Fprintf(c.out, "\n# %s\n# %s: %s\n", flag.Help, flag.Name, value)
	}
	return nil
}

// serveFlags lists the settings: the flags of serve that are not for one call only.
func serveFlags(app *kong.Kong) []*kong.Flag {
	var flags []*kong.Flag
	for _, command := range app.Model.Children {
		if command.Name != "serve" {
			continue
		}
		for _, flag := range command.Flags {
			if flag.Name != "help" && flag.Name != "demo" {
				flags = append(flags, flag)
			}
		}
	}
	return flags
}
