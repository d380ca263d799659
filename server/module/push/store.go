package push

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/form"
	xpush "kith/xmpp/xep/push"
	"kith/xmpp/xmltree"
)

//go:embed migrations
var files embed.FS

// Migrations returns the table of this package.
func Migrations() storage.Migrations {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return storage.Migrations{Name: "push", FS: sub}
}

// Purges delete what is kept of a deleted account.
var Purges = []account.Purge{`DELETE FROM push WHERE owner = $1`}

// registration is where a device wants its notifications. It does not change.
type registration struct {
	xpush.Service
	options  *form.Form // nil: none
	bytes    int        // of the options
	resource string     // by which the device's session is found
	access   account.Access
	since    time.Time
}

// registrations are those of an account. The list does not change.
type registrations []*registration

var slot = account.NewSlot[registrations]("push notifications")

// Size implements the account's measure.
func (l registrations) Size() int {
	n := 0
	for _, g := range l {
		n += 200 + len(g.JID.String()) + len(g.Node) + 2*g.bytes + len(g.resource)
	}
	return n
}

// find returns the registration of a service, nil if there is none.
func (l registrations) find(s xpush.Service) *registration {
	for _, g := range l {
		if g.Service == s {
			return g
		}
	}
	return nil
}

// Load reads where an account wants its notifications, as a part of it.
func Load(r *storage.Reader, st *account.State) error {
	var list registrations
	for row, err := range r.Query(`SELECT service, node, options, resource, since, access FROM push WHERE owner = $1 ORDER BY service, node`, st.ID) {
		if err != nil {
			return err
		}
		g := new(registration)
		var service string
		var options []byte
		var since int64
		var access string
		if err := row.Scan(&service, &g.Node, &options, &g.resource, &since, &access); err != nil {
			return err
		}
		if g.JID, err = jid.Parse(service); err != nil {
			continue // not our doing; nothing can be sent there
		}
		g.since, g.bytes, g.options, g.access = time.UnixMilli(since), len(options), parseOptions(options), account.Access(access)
		list = append(list, g)
	}
	if list != nil {
		slot.Load(st, list)
	}
	return nil
}

// parseOptions reads what is stored of a form. What cannot be read, which is not
// our doing, is not there: the service will say what it thinks of that.
func parseOptions(b []byte) *form.Form {
	if len(b) == 0 {
		return nil
	}
	el, err := xmltree.ParseIn(ns.Client, slices.Clone(b), xmltree.Limits{})
	if err != nil {
		return nil
	}
	f, err := xpush.ParseOptions(el)
	if err != nil {
		return nil
	}
	return f
}

// put stores a registration, in the place of that of the same service and node.
// The device begins anew; it is not told more often for that.
func (m *push) put(t *module.Transit, s xpush.Service, options []byte) {
	g := &registration{
		Service: xpush.Service{JID: s.JID.Clone(), Node: strings.Clone(s.Node)},
		options: parseOptions(options), bytes: len(options),
		resource: strings.Clone(t.Sender.JID.Resource()), since: t.Turn.Now(), access: t.Sender.Access(),
	}
	a := t.Account
	list := slices.DeleteFunc(slices.Clone(slot.Durable(a)), func(o *registration) bool { return o.Service == g.Service })
	slot.SetDurable(a, append(list, g))
	t.Write(`INSERT INTO push (owner, service, node, options, resource, since, access) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (owner, service, node) DO UPDATE SET options = excluded.options, resource = excluded.resource, since = excluded.since, access = excluded.access`,
		a.ID(), g.JID.String(), g.Node, options, g.resource, g.since.UnixMilli(), string(g.access))
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		if d := devices.Live(a)[g.Service]; d != nil {
			soon := turn.Now().Add(m.config.Interval)
			if d.after.After(soon) {
				d.after = soon
			}
			*d = device{after: d.after}
		}
	}))
}

// remove deletes the registrations that drop is true for.
func remove(turn *cluster.Turn, a *account.Actor, drop func(*registration) bool) {
	var left, gone registrations
	for _, g := range slot.Durable(a) {
		if drop(g) {
			gone = append(gone, g)
		} else {
			left = append(left, g)
		}
	}
	if gone == nil {
		return
	}
	slot.SetDurable(a, left)
	for _, g := range gone {
		turn.Write(`DELETE FROM push WHERE owner = $1 AND service = $2 AND node = $3`, a.ID(), g.JID.String(), g.Node)
	}
	turn.After(cluster.EffectFunc(func(*cluster.Turn) {
		for _, g := range gone {
			if d := devices.Live(a)[g.Service]; d != nil {
				*d = device{} // a timer may have it
			}
			delete(devices.Live(a), g.Service)
		}
	}))
}
