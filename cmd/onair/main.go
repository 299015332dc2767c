// Command onair is live streaming in one program: it takes streams from encoders and
// delivers them to viewers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"onair/internal/control/store"
	"onair/internal/node"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

const description = `Live streaming in one program: takes what cameras and encoders send, and delivers it to viewers.

Without a command it serves: everything it needs is made in ./onair-data, and what to do next is printed.

Examples:
  onair                             serve on the usual ports
  onair serve --http :80            serve the pages and the video on port 80
  onair publish rtmp://127.0.0.1/live/KEY   send a test picture
  onair doctor                      look for what would go wrong`

// commandLine is what the program understands. Each command is a file of its own.
type commandLine struct {
	ConfigFile string `name:"config" short:"c" placeholder:"FILE" env:"ONAIR_CONFIG" help:"YAML file of settings; the keys are the names of the flags of serve."`

	Serve   serveCommand   `cmd:"" default:"withargs" help:"Run the server (the default)."`
	Publish publishCommand `cmd:"" help:"Send a test picture with a clock and a tone to any RTMP server."`
	Doctor  doctorCommand  `cmd:"" help:"Check ports, ffmpeg, clock and disk, and say what to do."`
	Key     keyCommand     `cmd:"" help:"List and renew stream keys and the admin token."`
	Config  configCommand  `cmd:"" help:"Check, explain or print the settings."`

	Recordings recordingsCommand `cmd:"" help:"List, verify, repair and export recordings."`

	Version versionCommand `cmd:"" help:"Print the version."`
}

// newCommandLine holds the defaults that no flag sets.
func newCommandLine() *commandLine {
	var line commandLine
	line.Serve.Config = node.DefaultConfig()
	line.Doctor.Config = node.DefaultConfig()
	keys := database{Store: store.DefaultConfig()}
	place := archive{node.DefaultArchiveConfig()}
	recordings := &line.Recordings
	recordings.List.archive, recordings.Verify.archive, recordings.Repair.archive, recordings.Export.archive = place, place, place, place
	line.Key.List.database, line.Key.Reset.database, line.Key.Admin.database = keys, keys, keys
	return &line
}

// console is where a command writes.
type console struct{ out, err io.Writer }

// errReported ends a command that has said everything already.
var errReported = errors.New("reported")

// run parses and executes one command line and returns the exit status: 0, 1 for a
// command that failed, 2 for a command line that is not understood.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	line := newCommandLine()
	parser, status := newParser(line, configPath(args), console{out, errOut})
	if parser == nil {
		return status
	}
	exited := -1
	parser.Exit = func(code int) { exited = code }
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(errOut, "onair: %v\nRun \"onair --help\" for what there is.\n", err)
		return 2
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(console{out, errOut}, parser, line); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintf(errOut, "onair: %v\n", err)
		}
		return 1
	}
	return 0
}

// newParser builds the parser with the settings of the file as defaults.
func newParser(line *commandLine, file string, c console) (*kong.Kong, int) {
	options := []kong.Option{
		kong.Name("onair"),
		kong.Description(description),
		kong.DefaultEnvars("ONAIR"),
		kong.Writers(c.out, c.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	}
	if file != "" {
		settings, err := readSettings(file)
		if err != nil {
			fmt.Fprintf(c.err, "onair: %v\n", err)
			return nil, 2
		}
		options = append(options, kong.Resolvers(settings))
	}
	parser, err := kong.New(line, options...)
	if err != nil {
		fmt.Fprintf(c.err, "onair: %v\n", err)
		return nil, 2
	}
	return parser, 0
}

// configPath finds the file of settings before the command line is parsed, since its
// values are needed to parse it.
func configPath(args []string) string {
	for i, arg := range args {
		for _, name := range []string{"--config", "-c"} {
			if arg == name && i+1 < len(args) {
				return args[i+1]
			}
			if len(arg) > len(name) && arg[:len(name)+1] == name+"=" {
				return arg[len(name)+1:]
			}
		}
		if len(arg) > 2 && arg[:2] == "-c" {
			return arg[2:]
		}
	}
	return os.Getenv("ONAIR_CONFIG")
}
