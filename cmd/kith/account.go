package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"kith/server/account"
	"kith/server/web"
	"kith/xmpp/jid"
)

type accountCmd struct {
	Create   createCmd   `cmd:"" help:"Make an account."`
	List     listCmd     `cmd:"" help:"List the accounts."`
	Delete   deleteCmd   `cmd:"" help:"Delete an account and everything it has."`
	Disable  disableCmd  `cmd:"" help:"Lock an account out; what it has is kept."`
	Enable   enableCmd   `cmd:"" help:"Let a locked account in again."`
	Password passwordCmd `cmd:"" help:"Set a new password."`
	Factor   factorCmd   `cmd:"" help:"Show, set up or remove the second factor of an account."`
}

// address is the account that a command is about.
type address struct {
	JID string `arg:"" name:"jid" help:"Address of the account, name@domain."`
}

func (a address) parse() (jid.JID, error) {
	j, err := jid.Parse(a.JID)
	if err != nil {
		return j, fmt.Errorf("account %s: %w; an account's address is name@domain", a.JID, err)
	}
	if j.Local() == "" || !j.IsBare() {
		return j, fmt.Errorf("account %s: not an account's address; that is name@domain", a.JID)
	}
	return j, nil
}

// password is read from a file, from standard input (-), or from the terminal.
type password string

type passwordMapper struct{}

// Decode implements kong.Mapper.
func (passwordMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	var name string
	if err := ctx.Scan.PopValueInto("file", &name); err != nil {
		return errors.New("it wants the name of a file, - for standard input")
	}
	target.SetString(name)
	return nil
}

// read returns the password: the first line of what the flag names, or what a
// person types twice.
func (p password) read(j jid.JID) (string, error) {
	switch {
	case p == "-":
		return firstLine(os.Stdin, "standard input")
	case p != "":
		f, err := os.Open(string(p))
		if err != nil {
			return "", fmt.Errorf("read password from %s: %w; name a file whose first line is the password", p, why(err))
		}
		defer f.Close()
		return firstLine(f, string(p))
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return "", errors.New("read password: there is no terminal to ask on; name a file with --password-file, - for standard input")
	}
	var typed [2]string
	for i, prompt := range []string{"Password for %s: ", "Once more: "} {
		if i == 0 {
			prompt = fmt.Sprintf(prompt, j)
		}
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		typed[i] = string(b)
	}
	switch {
	case typed[0] != typed[1]:
		return "", errors.New("read password: the two are not the same; try again")
	case typed[0] == "":
		return "", errors.New("read password: it is empty; an account needs one")
	}
	return typed[0], nil
}

// maxPassword is in bytes. What is longer is the wrong file.
const maxPassword = 1024

func firstLine(r io.Reader, name string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password from %s: %w; name a file whose first line is the password", name, why(err))
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	switch {
	case line == "":
		return "", fmt.Errorf("read password from %s: the first line is empty; it has to be the password", name)
	case len(line) > maxPassword:
		return "", fmt.Errorf("read password from %s: the first line is longer than %d bytes; name a file whose first line is the password", name, maxPassword)
	case !utf8.ValidString(line):
		return "", fmt.Errorf("read password from %s: it is not UTF-8; convert the file", name)
	}
	return line, nil
}

// why returns what the system said without the operation and the name, which
// our sentence has already.
func why(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

type createCmd struct {
	where
	address
	PasswordFile password `help:"File whose first line is the password; - is standard input." placeholder:"FILE"`
	Admin        bool     `help:"The account may administer the server."`
}

// Run makes the account.
func (c createCmd) Run() error {
	j, err := c.parse()
	if err != nil {
		return err
	}
	if err := c.get("/status", nil); err != nil { // before anybody types a password for nothing
		return err
	}
	pw, err := c.PasswordFile.read(j)
	if err != nil {
		return err
	}
	if err := c.post("/account/create", web.Change{JID: j, Password: pw, Admin: c.Admin}); err != nil {
		return err
	}
	fmt.Println("made", j)
	return nil
}

type passwordCmd struct {
	where
	address
	PasswordFile password `help:"File whose first line is the password; - is standard input." placeholder:"FILE"`
}

// Run sets the password.
func (c passwordCmd) Run() error {
	j, err := c.parse()
	if err != nil {
		return err
	}
	if err := c.get("/status", nil); err != nil { // before anybody types a password for nothing
		return err
	}
	pw, err := c.PasswordFile.read(j)
	if err != nil {
		return err
	}
	if err := c.post("/account/password", web.Change{JID: j, Password: pw}); err != nil {
		return err
	}
	fmt.Println("set the password of", j)
	return nil
}

type deleteCmd struct {
	where
	address
}

// Run deletes the account.
func (c deleteCmd) Run() error { return c.simple(c.where, "/account/delete", "deleted") }

type disableCmd struct {
	where
	address
}

// Run locks the account.
func (c disableCmd) Run() error { return c.simple(c.where, "/account/disable", "disabled") }

type enableCmd struct {
	where
	address
}

// Run unlocks the account.
func (c enableCmd) Run() error { return c.simple(c.where, "/account/enable", "enabled") }

func (a address) simple(w where, path, done string) error {
	j, err := a.parse()
	if err != nil {
		return err
	}
	if err := w.post(path, web.Change{JID: j}); err != nil {
		return err
	}
	fmt.Println(done, j)
	return nil
}

type listCmd struct {
	where
	JSON bool `name:"json" help:"As JSON."`
}

// Run lists the accounts.
func (c listCmd) Run() error {
	var list []account.Info
	if err := c.get("/accounts", &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, a := range list {
		var notes []string
		if a.Admin {
			notes = append(notes, "admin")
		}
		if a.Disabled {
			notes = append(notes, "disabled")
		}
		last := "never logged in"
		if !a.Last.IsZero() {
			last = "last " + when(a.Last)
		}
		line := []string{a.JID.String(), "made " + when(a.Created), last}
		if len(notes) > 0 {
			line = append(line, strings.Join(notes, ", "))
		}
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	return t.Flush()
}
