package offline

import (
	"context"
	"fmt"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/storage"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/delay"
	"kith/xmpp/xep/stanzaid"
	"kith/xmpp/xmltree"
)

// row is a marked message as it is stored.
type row struct {
	id      int64
	transit bool
	stanza  []byte
}

// read reads the next page, oldest first, and makes it ready to be delivered.
// What was handed over before is not marked any more. more says that there are
// others behind.
func (f *flush) read(ctx context.Context, s size) (messages []message, more bool, err error) {
	var rows []row
	bytes := 0
	err = f.host.DB.Read(ctx, func(r *storage.Reader) error {
		rows, bytes, more = nil, 0, false
		for next, err := range r.Query(`SELECT m.id, m.transit, m.stanza FROM offline o
			JOIN message m ON m.owner = o.owner AND m.id = o.id
			WHERE o.owner = $1 ORDER BY o.id LIMIT $2`, f.id, s.rows+1) {
			if err != nil {
				return err
			}
			var m row
			if err := next.Scan(&m.id, &m.transit, &m.stanza); err != nil {
				return err
			}
			bytes += len(m.stanza)
			if len(rows) == s.rows || len(rows) > 0 && bytes > s.bytes {
				more = true
				return nil
			}
			rows = append(rows, m)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("read offline messages of %s: %w", f.owner, err)
	}
	for _, m := range rows {
		messages = append(messages, f.ready(m))
	}
	return messages, more, nil
}

// stored are the limits for what was a stanza before.
var stored = xmltree.Limits{Bytes: 4 << 20, Depth: 256, Elements: 1 << 16, Attrs: 1 << 10, Namespaces: 1 << 12}

// ready adds when the message came (XEP-0203 §2) and, if it is in the archive,
// where it is there (XEP-0313 §3.2).
func (f *flush) ready(m row) message {
	el, err := xmltree.ParseIn(ns.Client, m.stanza, stored)
	var st *stanza.Stanza
	if err == nil {
		st, err = stanza.Parse(el)
	}
	if err != nil {
		f.host.Log.Error("stored message cannot be read; it is skipped", "account", f.owner, "id", m.id, "error", err)
		return message{id: m.id, transit: m.transit}
	}
	noted := false
	for c := range st.Children() {
		noted = noted || c.Is(delay.Name) && isFrom(c, f.host.Domain)
	}
	if !noted {
		st.Add(delay.Delay{From: f.host.Domain, Stamp: archive.Time(m.id), Reason: "Offline Storage"})
	}
	if !m.transit {
		st.Add(stanzaid.ID{ID: archive.Format(m.id), By: f.owner})
	}
	st.Tail() // made here, not in the lane
	return message{m.id, m.transit, st}
}

// settle takes the mark from a message that is being handed over. One that was
// kept for nothing else goes with it, unless it cannot be read.
func settle(t *cluster.Turn, a *account.Actor, m message) {
	t.Write(`DELETE FROM offline WHERE owner = $1 AND id = $2`, a.ID(), m.id)
	if m.transit && m.stanza != nil {
		t.Write(`DELETE FROM message WHERE owner = $1 AND id = $2`, a.ID(), m.id)
	}
}
