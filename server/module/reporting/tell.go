package reporting

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/server/module"
	"kith/server/report"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/form"
	xreporting "kith/xmpp/xep/reporting"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

var nameBody = xmltree.Name{Space: ns.Client, Local: "body"}

type body string

// AppendXML implements xmltree.Appender.
func (b body) AppendXML(w *xmltree.Writer) { w.Element(nameBody, string(b)) }

// mostTold is how many administrators are told.
const mostTold = 100

// tellLater tells what has come while nobody was to be told.
func (m *reports) tellLater(ctx context.Context) error {
	timer := time.NewTimer(m.config.Quiet)
	defer timer.Stop()
	select {
	case <-timer.C:
		return m.tell(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell writes to the administrators of the host, unless that was done just now.
func (m *reports) tell(ctx context.Context) error {
	news, err := report.Tell(ctx, m.host.DB, m.host.Domain.Domain(), time.Now(), m.config.Quiet)
	if err != nil || news.Count == 0 {
		return err
	}
	list, err := m.host.Accounts.List(ctx)
	if err != nil {
		return err
	}
	told := 0
	for _, i := range list {
		if !i.Admin || i.Disabled || i.JID.Domain() != m.host.Domain.Domain() || told == mostTold {
			continue
		}
		told++
		st, err := m.message(i.JID, say(&news))
		if err != nil {
			return err
		}
		m.router.Take(st)
	}
	return nil
}

// message is like one that has come in: what becomes of it when nobody is there is
// seen by its elements.
func (m *reports) message(to jid.JID, text string) (*stanza.Stanza, error) {
	st := stanza.New(stanza.Message, stanza.Normal, m.host.Domain, to, body(text))
	st.ID = stream.NewID()
	el, err := xmltree.Build(st)
	if err != nil {
		return nil, err
	}
	return stanza.Parse(el)
}

// say tells what was reported.
func say(news *report.News) string {
	n := &news.Newest
	s := fmt.Sprintf("%s reports %s for %s (report %d).", n.By, n.Reported, reason(n.Reason), n.ID)
	if n.Words != "" {
		s += " “" + cut(n.Words, shown) + "”"
	}
	if news.Count > 1 {
		s += fmt.Sprintf(" %d reports have come in all.", news.Count)
	}
	return s
}

func reason(urn string) string {
	switch urn {
	case xreporting.Spam:
		return "spam"
	case xreporting.Abuse:
		return "abuse"
	}
	return urn
}

// Nodes of the commands.
const (
	nodeList   = "kith#list-reports"
	nodeDelete = "kith#delete-reports"
)

const (
	// page is how many reports are shown at once, shown how many bytes of a text: it
	// all has to be in one stanza.
	page, shown = 25, 500
	// mostDeleted is how many may be deleted at once.
	mostDeleted = 1000
)

// list is the command that shows reports, the newest first.
func (m *reports) list() module.Command {
	return module.Command{
		Node: nodeList, Name: "List Reports", May: (*module.Transit).Administers,
		Form: func(*module.Transit) *form.Form {
			f := form.New(form.Empty, "", form.Field{Var: "before", Type: form.TextSingle, Label: "Older than the report of this number (empty: the newest)"})
			f.Title = "List Reports"
			return f
		},
		Run: func(_ *module.Transit, f *form.Form) (func(context.Context) (*command.Command, error), error) {
			var before int64
			if v := strings.TrimSpace(f.Value("before")); v != "" {
				var err error
				if before, err = strconv.ParseInt(v, 10, 64); err != nil || before <= 0 {
					return nil, stanza.ErrBadRequest.With("A report has a number.")
				}
			}
			return func(ctx context.Context) (*command.Command, error) { return m.show(ctx, before) }, nil
		},
	}
}

func (m *reports) show(ctx context.Context, before int64) (*command.Command, error) {
	list, err := report.List(ctx, m.host.DB, m.host.Domain.Domain(), before, page+1)
	if err != nil {
		return nil, err
	}
	done := &command.Command{Form: form.New(form.Result, "")}
	if len(list) > page {
		list = list[:page]
		done.Notes = append(done.Notes, command.Note{Severity: command.Info, Text: fmt.Sprintf("There are older ones than %d.", list[page-1].ID)})
	}
	done.Form.Title = "Reports"
	for _, c := range []struct{ name, label string }{
		{"id", "Number"}, {"at", "Time"}, {"by", "By"}, {"reported", "Of"}, {"reason", "Reason"}, {"words", "In words"}, {"messages", "Messages"},
	} {
		done.Form.Reported = append(done.Form.Reported, form.Field{Var: c.name, Label: c.label})
	}
	for i := range list {
		r := &list[i]
		done.Form.Items = append(done.Form.Items, []form.Field{
			{Var: "id", Values: []string{strconv.FormatInt(r.ID, 10)}},
			{Var: "at", Values: []string{xtime.Format(r.At)}},
			{Var: "by", Values: []string{r.By.String()}},
			{Var: "reported", Values: []string{r.Reported.String()}},
			{Var: "reason", Values: []string{reason(r.Reason)}},
			{Var: "words", Values: []string{cut(r.Words, shown)}},
			{Var: "messages", Values: bodies(r.Messages)},
		})
	}
	return done, nil
}

// bodies are what people see of messages.
func bodies(messages []string) (list []string) {
	for _, s := range messages {
		if el, err := xmltree.ParseIn(ns.Client, []byte(s), readable); err == nil {
			list = append(list, cut(el.Child(nameBody).Text(), shown))
		}
	}
	return list
}

// delete is the command that deletes reports.
func (m *reports) delete() module.Command {
	return module.Command{
		Node: nodeDelete, Name: "Delete Reports", May: (*module.Transit).Administers,
		Form: func(*module.Transit) *form.Form {
			f := form.New(form.Empty, "", form.Field{Var: "ids", Type: form.TextMulti, Label: "The numbers of the reports", Required: true})
			f.Title = "Delete Reports"
			return f
		},
		Run: func(t *module.Transit, f *form.Form) (func(context.Context) (*command.Command, error), error) {
			field := f.Field("ids")
			if field == nil || len(field.Values) == 0 || len(field.Values) > mostDeleted {
				return nil, stanza.ErrBadRequest.With(fmt.Sprintf("Between 1 and %d reports can be named.", mostDeleted))
			}
			var ids []int64
			for _, v := range field.Values {
				id, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
				if err != nil {
					return nil, stanza.ErrBadRequest.With("A report has a number.")
				}
				ids = append(ids, id)
			}
			by := t.From.Clone()
			return func(ctx context.Context) (*command.Command, error) { return m.drop(ctx, by, ids) }, nil
		},
	}
}

func (m *reports) drop(ctx context.Context, by jid.JID, ids []int64) (*command.Command, error) {
	gone, err := report.Delete(ctx, m.host.DB, m.host.Domain.Domain(), ids...)
	if err != nil {
		return nil, err
	}
	m.host.Log.Info("reports deleted", "by", by, "reports", len(gone))
	done := new(command.Command)
	for _, id := range ids {
		if !slices.Contains(gone, id) {
			done.Notes = append(done.Notes, command.Note{Severity: command.Error, Text: fmt.Sprintf("There is no report %d.", id)})
		}
	}
	return done, nil
}
