package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"kith/server/s2s"
)

type s2sCmd struct {
	List s2sListCmd `cmd:"" help:"List streams with other servers, and those that cannot be reached."`
	TLSA s2sTLSACmd `cmd:"" name:"tlsa" help:"Print the records by which other servers know our certificates (DANE)."`
}

type s2sListCmd struct {
	where
	JSON bool `name:"json" help:"As JSON."`
}

// Run lists the streams, a line for each.
func (c s2sListCmd) Run() error {
	var list []s2s.Info
	if err := c.get("/s2s", &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, i := range list {
		theirs := strings.Join(i.Theirs, " ")
		if theirs == "" {
			theirs = "?"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", i.Direction, theirs, i.Ours, i.State, i.Since.Local().Format("2006-01-02 15:04"), strings.Join(about(i), ", "))
	}
	return t.Flush()
}

// about is what there is to say of a stream.
func about(i s2s.Info) (notes []string) {
	add := func(when bool, format string, args ...any) {
		if when {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	add(i.Remote != "", "%s", i.Remote)
	add(i.TLS != "", "%s", i.TLS)
	add(i.Direct, "direct")
	add(i.Authentication != "", "by %s", i.Authentication)
	add(i.Certificate != "", "certificate: %s", i.Certificate)
	add(i.Bidirectional, "both ways")
	add(i.Acks, "acks")
	add(i.Shared, "shared")
	add(i.Queued > 0, "%d waiting", i.Queued)
	add(i.Sent > 0, "%d sent", i.Sent)
	add(i.Received > 0, "%d received", i.Received)
	add(i.Error != "", "last error at %s: %s", i.ErrorAt.Local().Format("15:04:05"), i.Error)
	return notes
}

type s2sTLSACmd struct {
	where
	Target string `help:"The name that the SRV records lead to; not given: the domain itself." placeholder:"NAME"`
	Port   []int  `help:"The port that the SRV records lead to, several if there are several; not given: those that are listened on." placeholder:"PORT"`
	JSON   bool   `name:"json" help:"As JSON."`
}

// Run prints the records as lines of a zone.
func (c s2sTLSACmd) Run() error {
	var list []s2s.Published
	if err := c.get("/s2s/tlsa", &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	for _, p := range list {
		fmt.Printf("; the key of the certificate of %s that is valid until %s\n", p.Domain, p.Until.UTC().Format("2006-01-02"))
		host := p.Domain
		if c.Target != "" {
			host = strings.TrimSuffix(c.Target, ".")
		}
		ports := p.Ports
		if len(c.Port) > 0 {
			ports = c.Port
		}
		for _, port := range ports {
			fmt.Printf("_%d._tcp.%s. IN TLSA %s\n", port, host, p.Record)
		}
	}
	return nil
}
