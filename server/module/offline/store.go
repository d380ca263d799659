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
func (f *flush) read(ctx context.Context, p *page) error {
	var rows []archive.Message
	err := f.host.DB.Read(ctx, func(r *storage.Reader) (err error) {
		rows, p.more, err = archive.ReadWaiting(r, f.id, f.behind, f.upTo, f.caughtUp, f.page.rows, f.page.bytes)
		return err
	})
	if err != nil {
		return fmt.Errorf("read offline messages of %s: %w", f.owner, err)
	}
	p.messages = f.ready(rows)
	if n := len(rows); n > 0 {
		f.behind = rows[n-1].ID
	}
	// Behind what it has from the archive nothing is left out but what is carried.
	p.all = len(p.messages) == len(rows) && (len(rows) == 0 || rows[0].ID > f.caughtUp)
	return nil
}

// ready writes messages for the session, each with the time when it came (XEP-0203 §2)
// and, if it is in the archive, where it is there (XEP-0313 §3.2). They share their
// memory.
func (f *flush) ready(rows []archive.Message) []message {
	size := 0
	for _, m := range rows {
		size += len(m.Stanza) + notes
	}
	list := make([]message, 0, len(rows))
	b := make([]byte, 0, size)
	var w xmltree.Writer
	for _, row := range rows {
		if _, carried := f.carried[row.ID]; carried {
			continue
		}
		m := message{id: row.ID, transit: row.Transit}
		err := xmltree.Lend(ns.Client, row.Stanza, xmltree.StoredLimits(), func(el xmltree.Element) error {
			var st stanza.Stanza
			if err := st.Read(el); err != nil {
				return err
			}
			stamp(&st, f.host.Domain, row.ID, "Offline Storage")
			if !row.Transit {
				st.Add(stanzaid.ID{ID: f.ids.Format(f.id, row.ID), By: f.owner})
			}
			begin := len(b)
			w.Reset(b, ns.Client)
			st.AppendXML(&w)
			b = w.Bytes()
			m.from, m.to, m.whole = st.From, st.To.String(), b[begin:len(b):len(b)]
			return nil
		})
		if err != nil {
			f.host.Log.Error("stored message cannot be read; it is skipped", "account", f.owner, "id", row.ID, "error", err)
		}
		list = append(list, m)
	}
	return list
}

// notes is about the length of what is added to a message.
const notes = 256

// tail is what stands behind the recipient.
func (m *message) tail() []byte {
	var head [128]byte
	return m.whole[len(stanza.AppendHead(head[:0], stanza.Message, m.to)):]
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
