// Package reporting implements XEP-0377: Blocking Command Reports. Who blocks somebody may
// say why; the administrators of the host are told, and see it as long as it is
// kept.
//
// The blocking is what it is without a report. Of the messages that are reported,
// those that the reporter has in the archive and from that address are copied: they
// may be retracted. Nobody else is told of a report, whatever its maker agrees to.
package reporting

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"kith/server/archive"
	"kith/server/blocklist"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/report"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xblocking "kith/xmpp/xep/blocking"
	xreporting "kith/xmpp/xep/reporting"
	"kith/xmpp/xmltree"
)

// Module is the module. It works with the module blocking.
var Module = module.Define("reporting", attach,
	module.XEP(377, "0.4.1").Partly("kept for the administrators; not passed on to other servers"))

// Config is the table [modules.reporting].
type Config struct {
	// How many reports an account may make in 24 hours. Further ones are not kept; the blocking is.
	PerDay int `toml:"per_day"`
	// How long a report is kept.
	Keep time.Duration `toml:"keep"`
	// How many reports are kept for each host; the oldest go first.
	Most int `toml:"most"`
	// How often administrators are told of reports at most; what comes meanwhile is told together.
	Quiet time.Duration `toml:"quiet"`
}

// Default sets what holds where the configuration says nothing.
func (c *Config) Default() {
	*c = Config{PerDay: 20, Keep: 90 * 24 * time.Hour, Most: 10_000, Quiet: 15 * time.Minute}
}

// Validate refuses what cannot be meant.
func (c *Config) Validate() error {
	switch {
	case c.PerDay < 1 || c.Most < 1:
		return errors.New("per_day and most must be at least 1")
	case c.Keep < time.Hour:
		return errors.New("keep must be at least an hour")
	case c.Quiet < time.Minute:
		return errors.New("quiet must be at least a minute")
	}
	return nil
}

// reports is the module at a host.
type reports struct {
	host   *module.Host
	router module.Outside
	ids    *archive.IDs
	config Config
	fresh  chan struct{} // reports have been kept
}

// longestReason is how many bytes a reason may have: it is a URN.
const longestReason = 200

func attach(h *module.Host, c Config) error {
	if !h.Config.ModuleEnabled("blocking") {
		return nil
	}
	router, ok := h.Router.(module.Outside)
	if !ok {
		return errors.New("the host's router is no way from outside")
	}
	ids, err := archive.OpenIDs(context.Background(), h.Accounts)
	if err != nil {
		return err
	}
	m := &reports{h, router, ids, c, make(chan struct{}, 1)}
	h.DiscoFeature(ns.Reporting)
	h.Facts.Blocking = append(h.Facts.Blocking, m.blocked)
	h.Every(module.Job{Name: "tell of reports", Every: 24 * time.Hour, Wake: m.fresh, Run: m.tellLater})
	h.Every(module.Job{Name: "delete old reports", Every: 24 * time.Hour, Run: func(ctx context.Context) error {
		return report.Sweep(ctx, h.DB, h.Domain.Domain(), time.Now().Add(-c.Keep), c.Most)
	}})
	h.Command(module.ToServer, m.list())
	h.Command(module.ToServer, m.delete())
	return nil
}

var nameItem = xmltree.Name{Space: ns.Blocking, Local: "item"}

// blocked keeps what is said of those who were just blocked (XEP-0377 §6). What is
// no report is passed over: the blocking does not depend on it.
func (m *reports) blocked(t *module.Transit, _ *blocklist.Change) {
	if !t.Payload().Is(xblocking.Block) {
		return
	}
	kept := false
	for item := range t.Payload().Children() {
		words, err := xreporting.Parse(item.Child(xreporting.Name))
		if err != nil || !item.Is(nameItem) || len(words.Reason) > longestReason {
			continue
		}
		who, err := jid.Parse(item.Attr("jid"))
		if err != nil {
			continue
		}
		who = who.Clone()
		if !report.Add(t.Turn, t.Account, m.config.PerDay, &report.Report{
			Reported: who, Reason: strings.Clone(words.Reason), Words: cut(strings.TrimSpace(words.Text), report.MaxWords),
			Origin: words.Origin, ThirdParty: words.ThirdParty,
		}) {
			m.host.Log.Warn("too many reports in a day; one was not kept", "account", t.Account.JID)
			break
		}
		kept = true
		m.copy(t, who, words)
	}
	if kept {
		m.outside(t, m.tell)
		select {
		case m.fresh <- struct{}{}:
		default: // it will look all the same
		}
	}
}

// cut returns at most n bytes of a text, in memory of its own.
func cut(s string, n int) string {
	if len(s) > n {
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Clone(s)
}

// outside has something done after the commit, where it may wait for the store.
func (m *reports) outside(t *module.Transit, do func(context.Context) error) {
	t.Turn.Query(new(cluster.Asker), t.Turn.Key(), func(ctx context.Context) func() {
		if err := do(ctx); err != nil {
			m.host.Log.Error("report not dealt with; it is kept", "error", err)
		}
		return nil
	}, func(error) {}) // the panic is in the log
}

// copy copies the reported messages that are in the reporter's archive (XEP-0377
// §6) and have come from who is reported.
func (m *reports) copy(t *module.Transit, who jid.JID, words *xreporting.Report) {
	owner, floor := t.Account.ID(), archive.Floor(t.Account)
	var ids []int64
	for _, sid := range words.Messages {
		if id, ok := m.ids.Parse(owner, sid.ID); ok && sid.By == t.Account.JID && len(ids) < report.MaxMessages {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	m.outside(t, func(ctx context.Context) error {
		var messages [][]byte
		for _, id := range ids {
			f := archive.Filter{Owner: owner, Floor: floor, IDs: []int64{id}}
			var found archive.Found
			err := m.host.DB.Read(ctx, func(r *storage.Reader) (err error) {
				found, err = archive.Read(r, &f, &archive.Page{Rows: 1})
				return err
			})
			switch {
			case errors.Is(err, archive.ErrNoMessage):
			case err != nil:
				return err
			case len(found.Messages) == 1 && isFrom(found.Messages[0].Stanza, who):
				messages = append(messages, found.Messages[0].Stanza)
			}
		}
		return report.Attach(ctx, m.host.DB, owner, who, messages)
	})
}

// readable are the limits for what was a stanza before.
var readable = xmltree.Limits{Bytes: report.MaxMessage, Depth: 256, Elements: 1 << 12, Attrs: 1 << 10, Namespaces: 1 << 12}

// isFrom reports whether a message has come from an address, or one that it stands
// for. One that is too large to be kept has not.
func isFrom(b []byte, who jid.JID) bool {
	el, err := xmltree.ParseIn(ns.Client, b, readable)
	if err != nil {
		return false
	}
	st, err := stanza.Parse(el)
	return err == nil && (st.From == who || st.From.Bare() == who || st.From.Host() == who)
}
