// Package caps implements XEP-0115: Entity Capabilities. The server learns what
// its clients can do, for the modules that need to know, and tells them what it
// can do itself. It does not strip what clients say to each other (§8.4).
//
// A client is asked in the name of its host. Its answer is taken only from the
// session that was asked, under the id that it was asked with.
package caps

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"kith/server/account"
	"kith/server/caps"
	"kith/server/cluster"
	"kith/server/module"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xcaps "kith/xmpp/xep/caps"
	xdisco "kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

// Module is the module. It comes behind presence, which refuses presence that
// makes no sense.
var Module = module.Define("caps", attach, module.XEP(115, "1.6.0").Partly("without the optimisation of §8.4"))

// software names Kith where other programs have the address of their web site.
const software = "urn:uuid:6f0b8a5e-52f1-4d3c-9a53-8d1c6e0f7b42"

// capabilities is the module at a host.
type capabilities struct {
	host  *module.Host
	lanes module.Lanes
	own   func() xcaps.Caps // of the host, once all modules are attached; see memo
}

func attach(h *module.Host, _ struct{}) error {
	lanes, ok := h.Router.(module.Lanes)
	if !ok {
		return errors.New("the host's router is no way into the lanes")
	}
	m := &capabilities{host: h, lanes: lanes}
	m.own = m.memo()
	h.DiscoFeature(ns.Caps)
	h.Keep(caps.Kept())
	if h.Config.ModuleEnabled("disco") { // else nobody could ask what it means
		h.StreamFeature(feature(m.own))
		h.DiscoNodes(m.node)
	}
	leaving := &h.Stages.Leaving
	leaving.Check = append(leaving.Check, m.answered)
	leaving.Broadcast = append(leaving.Broadcast, m.claimed)
	return nil
}

// memo returns what compute does, which is computed anew when what others do in the
// host's place has changed.
func (m *capabilities) memo() func() xcaps.Caps {
	type computed struct {
		version uint64
		own     xcaps.Caps
	}
	var last atomic.Pointer[computed]
	return func() xcaps.Caps {
		version := m.host.Managed.Version()
		c := last.Load()
		if c == nil || c.version != version {
			c = &computed{version, m.compute()}
			last.Store(c)
		}
		return c.own
	}
}

// compute makes the host's own verification string, of what is really written.
func (m *capabilities) compute() xcaps.Caps {
	el, err := xmltree.Build(m.host.Info())
	if err == nil {
		var info *xdisco.Info
		if info, err = xdisco.ParseInfo(el); err == nil {
			var ver string
			if ver, err = xcaps.Hash(xcaps.SHA1, info); err == nil {
				return xcaps.Caps{Hash: xcaps.SHA1, Node: software, Ver: ver}
			}
		}
	}
	m.host.Log.Error("the server's own capabilities cannot be told", "error", err)
	return xcaps.Caps{}
}

// feature is the host's capabilities among the features of a stream (XEP-0115
// §6.3).
type feature func() xcaps.Caps

// AppendXML implements xmltree.Appender.
func (f feature) AppendXML(w *xmltree.Writer) {
	if c := f(); c != (xcaps.Caps{}) {
		w.Append(c)
	}
}

// node answers for the host under the node that its capabilities name (§6.2).
func (m *capabilities) node(_ *module.Transit, to module.Target, node string) (*xdisco.Info, *xdisco.Items, error) {
	if own := m.own(); to != module.ToServer || own == (xcaps.Caps{}) || node != own.Query() {
		return nil, nil, nil
	}
	return m.host.Info(), nil, nil
}

// claimed takes down what a client says with its presence. Presence that says
// nothing leaves it at what was said before; going away takes it back.
func (m *capabilities) claimed(_ context.Context, t *module.Transit) error {
	var claim xcaps.Caps
	switch t.Type {
	case "":
		var err error
		if claim, err = xcaps.Parse(t.Child(xcaps.Name)); err != nil {
			return nil //nolint:nilerr // it says nothing that could be understood
		}
	case stanza.Unavailable:
	default:
		return nil
	}
	r, now := t.Sender, t.Turn.Now()
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		w := m.waiter(turn.Key(), r.ID)
		m.do(turn, r, w, m.host.Caps.Claim(w, r, claim, now))
	}))
	return nil
}

// answered takes what a client answers to the server. Nobody else sees it.
func (m *capabilities) answered(_ context.Context, t *module.Transit) error {
	if t.Kind != stanza.IQ || t.IsRequest() || t.To != t.Host.Domain || !caps.Asked(t.Sender, t.ID) {
		return nil
	}
	var info *xdisco.Info
	if t.Type == stanza.Result {
		if i, err := xdisco.ParseInfo(t.Payload()); err == nil {
			info = i
		}
	}
	r, id, now := t.Sender, strings.Clone(t.ID), t.Turn.Now()
	t.Turn.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		m.do(turn, r, caps.Waiter{}, m.host.Caps.Answer(r, id, info, now))
	}))
	return module.Stop
}

// do does what there is to do.
func (m *capabilities) do(turn *cluster.Turn, r *account.Resource, w caps.Waiter, n caps.Next) {
	if n.Changed {
		turn.Send(turn.Key(), &told{m, r.ID, n.Was})
	}
	if n.Save != nil {
		turn.Send(turn.Key(), n.Save)
	}
	if n.Ask != "" {
		st := ask(m.host.Domain, r.JID, n.Claim)
		st.ID = n.Ask
		if r.Out.Send(m.host.Entry(st, r.JID.String(), r)) {
			turn.Dirty(r.Out)
		}
	}
	if n.Wait > 0 {
		time.AfterFunc(n.Wait, func() { m.lanes.Send(w.Key, w.Retry) })
	}
	for _, other := range n.Wake {
		turn.Send(other.Key, other.Retry)
	}
}

// ask is the question what a claim means (§6.2). What was claimed in the format
// before version 1.4 names a part only: that is asked for the whole (§12).
func ask(from, to jid.JID, claim xcaps.Caps) *stanza.Stanza {
	q := new(xdisco.Info)
	if claim.Hash != "" {
		q.Node = claim.Query()
	}
	return stanza.New(stanza.IQ, stanza.Get, from, to, q)
}

// retry wakes a session that waits for what another was asked.
type retry struct {
	*capabilities
	session session.ID
}

func (m *capabilities) waiter(k cluster.Key, id session.ID) caps.Waiter {
	return caps.Waiter{Key: k, Session: id, Retry: &retry{m, id}}
}

// Handle implements cluster.Item.
func (i *retry) Handle(t *cluster.Turn, ac cluster.Actor) {
	r, now := ac.(*account.Actor).Resource(i.session), t.Now()
	if r == nil {
		return
	}
	t.After(cluster.EffectFunc(func(turn *cluster.Turn) {
		w := i.waiter(turn.Key(), r.ID)
		i.do(turn, r, w, i.host.Caps.Retry(w, r, now))
	}))
}

// Fail implements cluster.Item. The session is gone, or nothing is known of it.
func (i *retry) Fail(*cluster.Turn, error) {}

// told tells the other modules that something is known of a session.
type told struct {
	*capabilities
	session session.ID
	was     *caps.Known
}

// Handle implements cluster.Item.
func (i *told) Handle(t *cluster.Turn, ac cluster.Actor) {
	a := ac.(*account.Actor)
	r := a.Resource(i.session)
	if r == nil {
		return
	}
	tr := &module.Transit{Host: i.host, Turn: t, Account: a, Sender: r}
	for _, f := range i.host.Facts.Capable {
		f(tr, r, i.was)
	}
}

// Fail implements cluster.Item: what the modules wanted could not be stored.
func (i *told) Fail(_ *cluster.Turn, err error) {
	i.host.Log.Error("modules did not learn what a session can do", "session", i.session, "error", err)
}
