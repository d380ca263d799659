package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"

	"kith/server/web"
)

type factorCmd struct {
	where
	address
	SetUp  bool `name:"set-up" help:"Set one up: shows what to tell an authenticator, and asks for a code of it." xor:"what"`
	Remove bool `help:"Take it away, with the app passwords: for who has lost authenticator and recovery codes." xor:"what"`
	JSON   bool `name:"json" help:"Show it as JSON." xor:"what"`
}

// Run shows the second factor of an account, sets it up or removes it.
func (c factorCmd) Run() error {
	j, err := c.parse()
	if err != nil {
		return err
	}
	switch {
	case c.SetUp:
		return c.setUp(web.Change{JID: j})
	case c.Remove:
		return c.simple(c.where, "/factor/remove", "removed the second factor and the app passwords of")
	}
	var f web.Factor
	if err := c.do(http.MethodPost, "/factor", web.Change{JID: j}, &f); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(f)
	}
	if !f.Enabled {
		fmt.Println(j, "has no second factor")
		return nil
	}
	fmt.Printf("%s has a second factor, %d recovery codes and %d app passwords\n", j, f.Recovery, len(f.Apps))
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, a := range f.Apps {
		used := "never used"
		if !a.Used.IsZero() {
			used = "used last " + when(a.Used)
		}
		fmt.Fprintf(t, "%d\t%s\tmade %s\t%s\n", a.ID, a.Label, when(a.Created), used)
	}
	return t.Flush()
}

// setUp begins an enrolment and ends it with the code that is typed.
func (c factorCmd) setUp(of web.Change) error {
	var e web.Enrolment
	if err := c.do(http.MethodPost, "/factor/begin", of, &e); err != nil {
		return err
	}
	fmt.Printf("Tell an authenticator this secret, or show it the link as a QR code:\n\n  %s\n  %s\n\n", e.Secret, e.URI)
	fmt.Fprint(os.Stderr, "Code that it shows: ")
	code, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the code: %w", err)
	}
	if code = strings.TrimSpace(code); code == "" {
		return errors.New("set up the second factor: there is no code on standard input, so nothing has changed; begin anew")
	}
	var r web.Recovery
	if err := c.do(http.MethodPost, "/factor/confirm", web.Confirmation{JID: of.JID, Code: code}, &r); err != nil {
		return err
	}
	fmt.Printf("%s has a second factor. Recovery codes, each good once; they are not shown again:\n\n", of.JID)
	for _, code := range r.Codes {
		fmt.Println(" ", code)
	}
	return nil
}
