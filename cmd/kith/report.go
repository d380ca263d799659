package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"kith/server/web"
)

type reportCmd struct {
	List   reportListCmd   `cmd:"" help:"List what people report of others, the newest first."`
	Delete reportDeleteCmd `cmd:"" help:"Delete reports that are dealt with."`
}

type reportListCmd struct {
	where
	Host   string `help:"Only what accounts of this host report." placeholder:"DOMAIN"`
	Before int64  `help:"Only those older than the report of this number." placeholder:"NUMBER"`
	JSON   bool   `name:"json" help:"As JSON, with the reported messages."`
}

// Run lists the reports, a line for each.
func (c reportListCmd) Run() error {
	var list web.Reports
	q := url.Values{"host": {c.Host}, "before": {strconv.FormatInt(c.Before, 10)}}
	if err := c.get("/reports?"+q.Encode(), &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range list.Reports {
		line := []string{strconv.FormatInt(r.ID, 10), when(r.At), r.By.String(), "reports " + r.Reported.String(), strings.TrimPrefix(r.Reason, "urn:xmpp:reporting:")}
		var notes []string
		if n := len(r.Messages); n > 0 {
			notes = append(notes, fmt.Sprintf("messages: %d", n))
		}
		if r.Words != "" {
			notes = append(notes, strconv.Quote(r.Words))
		}
		fmt.Fprintln(t, strings.Join(append(line, strings.Join(notes, ", ")), "\t"))
	}
	if err := t.Flush(); err != nil || !list.More {
		return err
	}
	fmt.Fprintf(os.Stderr, "there are older ones; --before %d shows them\n", list.Reports[len(list.Reports)-1].ID)
	return nil
}

type reportDeleteCmd struct {
	where
	IDs []int64 `arg:"" name:"number" help:"Numbers of the reports, as the list shows them."`
}

// Run deletes the reports.
func (c reportDeleteCmd) Run() error {
	var done web.DropReports
	if err := c.do(http.MethodPost, "/report/delete", web.DropReports{IDs: c.IDs}, &done); err != nil {
		return err
	}
	for _, id := range done.IDs {
		fmt.Println("deleted report", id)
	}
	return nil
}
