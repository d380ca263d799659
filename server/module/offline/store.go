package offline

import (
	"context"
	"fmt"

	"kith/server/archive"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/delay"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

// read reads the next page, oldest first, and makes it ready to be delivered. What
// is on its way to another session is left to that.
func (f *flush) read(ctx context.Context, s size, p *page) error {
	var rows []archive.Message
	err := f.host.DB.Read(ctx, func(r *storage.Reader) (err error) {
		rows, p.more, err = archive.ReadWaiting(r, f.id, f.behind, f.upTo, f.caughtUp, s.rows, s.bytes)
		return err
	})
	if err != nil {
		return fmt.Errorf("read offline messages of %s: %w", f.owner, err)
	}
	for _, m := range rows {
		f.behind = m.ID
		if _, carried := f.carried[m.ID]; !carried {
			p.messages = append(p.messages, f.ready(m))
		}
	}
	// Behind what it has from the archive nothing is left out but what is carried.
	p.all = len(p.messages) == len(rows) && (len(rows) == 0 || rows[0].ID > f.caughtUp)
	return nil
}

// stored are the limits for what was a stanza before.
var stored = xmltree.Limits{Bytes: 4 << 20, Depth: 256, Elements: 1 << 16, Attrs: 1 << 10, Namespaces: 1 << 12}

// ready adds when the message came (XEP-0203 §2) and, if it is in the archive,
// where it is there (XEP-0313 §3.2).
func (f *flush) ready(m archive.Message) message {
	el, err := xmltree.ParseIn(ns.Client, m.Stanza, stored)
	var st *stanza.Stanza
	if err == nil {
		st, err = stanza.Parse(el)
	}
	if err != nil {
		f.host.Log.Error("stored message cannot be read; it is skipped", "account", f.owner, "id", m.ID, "error", err)
		return message{id: m.ID, transit: m.Transit}
	}
	stamp(st, f.host.Domain, m.ID, "Offline Storage")
	if !m.Transit {
		st.Add(stanzaid.ID{ID: f.ids.Format(f.id, m.ID), By: f.owner})
	}
	st.Tail() // made here, not in the lane
	return message{id: m.ID, transit: m.Transit, stanza: st}
}

// stamp says when a message came, unless that was said before.
func stamp(st *stanza.Stanza, host jid.JID, id int64, reason string) {
	for c := range st.Children() {
		if c.Is(delay.Name) && isFrom(c, host) {
			return
		}
	}
	st.Add(delay.Delay{From: host, Stamp: archive.Time(id), Reason: reason})
}
