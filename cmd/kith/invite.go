package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"kith/server/account"
	"kith/server/config"
	"kith/server/web"
	"kith/xmpp/jid"
)

type inviteCmd struct {
	Make   inviteMakeCmd   `cmd:"" default:"withargs" help:"Make an invitation and print its link. (The default.)"`
	List   inviteListCmd   `cmd:"" help:"List the invitations that can be used."`
	Revoke inviteRevokeCmd `cmd:"" help:"Take an invitation back."`
}

type inviteMakeCmd struct {
	where
	Admin   bool   `help:"The account may administer the server."`
	Contact string `help:"The account whose contact the new one becomes." placeholder:"JID"`
	Expires string `help:"How long the invitation is good: 7d, 12h, at most a year." default:"7d" placeholder:"TIME"`
	Host    string `help:"The host on which the account is made, if there are several." placeholder:"DOMAIN"`
	JSON    bool   `name:"json" help:"As JSON."`
}

// Run makes an invitation.
func (c inviteMakeCmd) Run() error {
	in := web.Invite{Admin: c.Admin}
	var err error
	if in.Expires, err = config.ParseDuration(c.Expires); err != nil {
		return fmt.Errorf("make an invitation: --expires %s is no time; name one such as 7d or 12h", c.Expires)
	}
	if c.Contact != "" {
		if in.Contact, err = (address{c.Contact}).parse(); err != nil {
			return err
		}
	}
	if c.Host != "" {
		if in.Host, err = jid.Parse(c.Host); err != nil || in.Host != in.Host.Host() {
			return fmt.Errorf("make an invitation: --host %s is no domain; name one such as example.org", c.Host)
		}
	}
	var made web.Invited
	if err := c.do(http.MethodPost, "/invitation/create", in, &made); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(made)
	}
	fmt.Println(made.Link)
	fmt.Fprintf(os.Stderr, "invitation %d: good once, until %s; whoever has the link can use it\n", made.ID, when(made.Expires))
	return nil
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

type inviteListCmd struct {
	where
	JSON bool `name:"json" help:"As JSON."`
}

// Run lists the invitations.
func (c inviteListCmd) Run() error {
	var list []account.Invitation
	if err := c.get("/invitations", &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, i := range list {
		var notes []string
		if i.Admin {
			notes = append(notes, "admin")
		}
		if !i.Contact.IsZero() {
			notes = append(notes, "contact "+i.Contact.String())
		}
		line := []string{fmt.Sprint(i.ID), i.Host.String(), "until " + when(i.Expires)}
		if len(notes) > 0 {
			line = append(line, strings.Join(notes, ", "))
		}
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	return t.Flush()
}

type inviteRevokeCmd struct {
	where
	ID int64 `arg:"" name:"number" help:"Number of the invitation, as the list shows it."`
}

// Run revokes an invitation.
func (c inviteRevokeCmd) Run() error {
	if c.ID <= 0 {
		return errors.New("revoke invitation: the number is that of kith invite list")
	}
	if err := c.post("/invitation/revoke", web.Revoke{ID: c.ID}); err != nil {
		return err
	}
	fmt.Println("revoked invitation", c.ID)
	return nil
}
