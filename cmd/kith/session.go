package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"kith/server/web"
	"kith/xmpp/jid"
)

type sessionCmd struct {
	List  sessionListCmd  `cmd:"" help:"List who is logged in."`
	Close sessionCloseCmd `cmd:"" help:"End sessions; their clients may log in again."`

	Devices sessionDevicesCmd `cmd:"" help:"List what has access to an account: devices, apps, sessions."`
	Revoke  sessionRevokeCmd  `cmd:"" help:"Take the access from a device: its tokens are void, its sessions end."`
}

type sessionListCmd struct {
	where
	Of   string `arg:"" optional:"" name:"address" help:"An account, one of its sessions, or a host; without it all are listed."`
	JSON bool   `name:"json" help:"As JSON."`
}

// Run lists the sessions, a line for each.
func (c sessionListCmd) Run() error {
	var list []web.Session
	if err := c.get("/sessions?of="+url.QueryEscape(c.Of), &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(os.Stderr, "nobody is logged in")
		return nil
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.JID, s.Since.Local().Format("2006-01-02 15:04"), s.Remote, strings.Join(notes(s), ", "))
	}
	return t.Flush()
}

// notes are what there is to say of a session.
func notes(s web.Session) (notes []string) {
	if s.TLS == "" {
		notes = append(notes, "no TLS")
	} else {
		notes = append(notes, s.TLS)
	}
	if s.Acks {
		notes = append(notes, "acks")
	}
	if s.Waiting {
		notes = append(notes, "connection lost, may be resumed")
	} else if s.Inactive {
		notes = append(notes, "inactive")
	}
	if s.Show == "" {
		return append(notes, "no presence")
	}
	return append(notes, fmt.Sprintf("%s, priority %d", s.Show, s.Priority))
}

type sessionCloseCmd struct {
	where
	JID string `arg:"" name:"jid" help:"Address of the account, for all its sessions, or with a resource, for one."`
}

// Run ends the sessions.
func (c sessionCloseCmd) Run() error {
	j, err := jid.Parse(c.JID)
	if err != nil {
		return fmt.Errorf("session %s: %w; name user@domain or user@domain/resource", c.JID, err)
	}
	if j.Local() == "" {
		return fmt.Errorf("session %s: neither an account nor a session; name user@domain or user@domain/resource", c.JID)
	}
	var closed web.Closed
	if err := c.do(http.MethodPost, "/session/close", web.Closing{JID: j}, &closed); err != nil {
		return err
	}
	if closed.Sessions == 1 {
		fmt.Println("closed a session of", j.Bare())
		return nil
	}
	fmt.Println("closed", closed.Sessions, "sessions of", j.Bare())
	return nil
}
