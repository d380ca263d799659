// Command kith is an XMPP server, and the commands to run one.
package main

//go:generate sh -c "go run . xeps > ../../docs/xeps.md"

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"kith/server/config"
)

// version is set when the program is built.
var version = "unreleased"

// where is how a command finds the server: by its data directory, or by the
// configuration that names it.
type where struct {
	Config string `help:"Configuration file." placeholder:"FILE" type:"path"`
	Data   string `help:"Data directory of the server." placeholder:"DIR" type:"path"`
}

type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Status  statusCmd  `cmd:"" help:"Health and figures of the running server."`
	Reload  reloadCmd  `cmd:"" help:"Have the running server take up its configuration and certificates."`
	Account accountCmd `cmd:"" help:"Make, list, delete and change accounts."`
	Invite  inviteCmd  `cmd:"" help:"Make, list and revoke invitations."`
	Session sessionCmd `cmd:"" help:"List and close sessions."`
	Report  reportCmd  `cmd:"" help:"List and delete what people report of others."`
	S2s     s2sCmd     `cmd:"" name:"s2s" help:"List streams with other servers."`
	Bench   benchCmd   `cmd:"" help:"Measure an XMPP server: its speed and what it costs."`
	Xeps    xepsCmd    `cmd:"" help:"Print what the server implements, as docs/xeps.md has it."`
	Version versionCmd `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" hidden:"" help:"Print the version."`

	Init    laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Check   laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Room    laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Send    laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Chat    laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Gateway laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Backup  laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Restore laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Import  laterCmd `cmd:"" hidden:"" help:"Not in this version."`
	Export  laterCmd `cmd:"" hidden:"" help:"Not in this version."`
}

// laterCmd is promised and not built yet.
type laterCmd struct {
	Args []string `arg:"" optional:"" passthrough:""`
}

// Run says so.
func (laterCmd) Run(k *kong.Context) error {
	return fmt.Errorf("%s: %w", k.Command()[:strings.IndexByte(k.Command()+" ", ' ')], config.ErrNotInThisVersion)
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("kith", version)
	return nil
}

func main() { os.Exit(run(os.Args[1:])) }

// run runs a command and returns the program's exit status.
func run(args []string) int {
	var c cli
	exit := -1
	p, err := kong.New(&c, kong.Name("kith"),
		kong.Description("An XMPP server: accounts, presence, messages.\n\nkith serve --local runs one on this machine without any configuration."),
		kong.Vars{"version": "kith " + version}, kong.Exit(func(code int) { exit = code }),
		kong.TypeMapper(reflect.TypeFor[password](), passwordMapper{}))
	if err != nil {
		return fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := p.Parse(args)
	if exit >= 0 { // --help, --version
		return exit
	}
	if err != nil {
		pe, ok := errors.AsType[*kong.ParseError](err)
		if !ok {
			return fail(err)
		}
		about := "kith"
		if n := pe.Context.Selected(); n != nil {
			about = n.FullPath()
		}
		fmt.Fprintf(os.Stderr, "kith: wrong usage: %s; %s --help tells what there is\n", err, about)
		return 2
	}
	if err := k.Run(k); err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	for _, line := range strings.Split(strings.TrimRight(err.Error(), "\n"), "\n") {
		fmt.Fprintln(os.Stderr, "kith:", line)
	}
	return 1
}
