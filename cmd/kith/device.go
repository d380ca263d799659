package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"kith/server/account"
	"kith/server/web"
)

type sessionDevicesCmd struct {
	where
	address
	JSON bool `name:"json" help:"As JSON."`
}

// Run lists what has access to an account, a line for each.
func (c sessionDevicesCmd) Run() error {
	j, err := c.parse()
	if err != nil {
		return err
	}
	var list []web.Device
	if err := c.get("/session/devices?of="+url.QueryEscape(j.String()), &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(os.Stderr, "no device is known of", j)
		return nil
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for i := range list {
		d := &list[i]
		last := "never logged in"
		if !d.Last.IsZero() {
			last = "last " + when(d.Last)
		}
		notes := []string{"by " + strings.Join(d.By.Names(), ", ")}
		if d.Connected {
			notes = append(notes, "has a session")
		}
		fmt.Fprintf(t, "%s\t%s\tfirst %s\t%s\t%s\n", d.ID, printable(d.Name()), when(d.First), last, strings.Join(notes, ", "))
	}
	return t.Flush()
}

// printable is what a stranger has written, as it can be shown on a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

type sessionRevokeCmd struct {
	where
	address
	Device string `arg:"" name:"device" help:"The device, as kith session devices shows it in the first column."`
}

// Run takes the access from a device.
func (c sessionRevokeCmd) Run() error {
	j, err := c.parse()
	if err != nil {
		return err
	}
	var done web.Revoked
	if err := c.do(http.MethodPost, "/session/revoke", web.Revoking{JID: j, Device: account.Access(c.Device)}, &done); err != nil {
		return err
	}
	fmt.Printf("logged out %s of %s\n", printable(done.Name), j)
	switch done.Left {
	case "password":
		fmt.Println("it knows the password; kith account password gives the account another one")
	case "elsewhere":
		fmt.Println("what it logs in by was not given to it here: it may come back, unless that is taken from it there, or the account disabled")
	}
	return nil
}
