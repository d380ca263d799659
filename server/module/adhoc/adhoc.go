// Package adhoc implements XEP-0050: Ad-Hoc Commands. Other modules declare the
// commands.
//
// No state is kept between a form and what is submitted: the id of a session
// shows by a keyed hash that it was given to this requester for this command,
// and when.
package adhoc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"kith/server/module"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/command"
	xdisco "kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

// Module is the module. Those that declare commands come in any order.
var Module = module.Define("adhoc", attach, module.XEP(50, "1.3.0"))

// lifetime is how long a person may fill in a form.
const lifetime = time.Hour

type adhoc struct {
	host *module.Host
	key  [32]byte
}

func attach(h *module.Host, _ struct{}) error {
	m := &adhoc{host: h}
	rand.Read(m.key[:])
	h.DiscoFeature(ns.Commands)
	h.AccountFeature(ns.Commands)
	for _, to := range []module.Target{module.ToServer, module.ToAccount} {
		h.Query(stanza.Set, command.Name, to, func(_ context.Context, t *module.Transit) (reader, error) { return m.serve(t, to) })
	}
	h.DiscoNodes(m.node)
	return nil
}

type reader = func(context.Context) (xmltree.Appender, error)

// serve answers a request (XEP-0050 §3.4).
func (m *adhoc) serve(t *module.Transit, to module.Target) (reader, error) {
	if to == module.ToAccount && !t.Own() && !t.Sees(t.From) {
		return nil, stanza.ErrServiceUnavailable // as if there were no such account
	}
	want, err := command.Parse(t.Payload())
	if err != nil {
		return nil, stanza.ErrBadRequest.With(err.Error())
	}
	c := t.Host.CommandOf(to, want.Node)
	switch {
	case c == nil:
		return nil, stanza.ErrItemNotFound
	case !c.May(t): // XEP-0050 §3.2
		return nil, stanza.ErrForbidden
	}
	now, from := t.Turn.Now(), t.From.String()
	if want.Session == "" {
		return m.begin(t, c, want, now)
	}
	if err := m.check(want.Session, want.Node, from, now); err != nil {
		return nil, err
	}
	switch want.Action {
	case command.Cancel: // XEP-0050 §3.5
		return answer(&command.Command{Node: c.Node, Session: want.Session, Status: command.Canceled}), nil
	case command.Execute, command.Complete, command.Next:
		return m.run(t, c, want)
	}
	return nil, badAction()
}

// begin runs a command that asks nothing, and asks what the others do.
func (m *adhoc) begin(t *module.Transit, c *module.Command, want *command.Command, now time.Time) (reader, error) {
	if want.Action != command.Execute {
		return nil, badAction()
	}
	want.Session = m.session(want.Node, t.From.String(), now)
	if !c.Asks() {
		return m.run(t, c, want)
	}
	asked := &command.Command{
		Node: c.Node, Session: want.Session, Status: command.Executing,
		Actions: []command.Action{command.Complete}, Default: command.Complete,
	}
	if c.Read == nil {
		asked.Form = c.Form(t)
		return answer(asked), nil
	}
	read := c.Read(t)
	return func(ctx context.Context) (_ xmltree.Appender, err error) {
		asked.Form, err = read(ctx)
		return asked, err
	}, nil
}

func (m *adhoc) run(t *module.Transit, c *module.Command, want *command.Command) (reader, error) {
	f := want.Form
	switch {
	case !c.Asks():
		f = nil
	case f == nil || f.Type != form.Submit && f.Type != form.Cancel: // XEP-0050 §4.4.1
		return nil, stanza.ErrBadRequest.With("The form is to be submitted.").WithApp(condition("bad-payload"))
	}
	run, err := c.Run(t, f)
	if err != nil {
		return nil, err
	}
	node, session := c.Node, want.Session
	return func(ctx context.Context) (xmltree.Appender, error) {
		done, err := run(ctx)
		if err != nil {
			return nil, err
		}
		done.Node, done.Session, done.Status = node, session, command.Completed
		return done, nil
	}, nil
}

func answer(c *command.Command) reader {
	return func(context.Context) (xmltree.Appender, error) { return c, nil }
}

// condition is one of the conditions of XEP-0050 §4.6.
type condition string

// AppendXML implements xmltree.Appender.
func (c condition) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.Commands, Local: string(c)}, "")
}

func badAction() error {
	return stanza.ErrBadRequest.With("There is no such step.").WithApp(condition("bad-action"))
}

// session makes an id: when it was made, and what shows for whom.
func (m *adhoc) session(node, from string, now time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	var nonce [8]byte
	rand.Read(nonce[:])
	b = append(b, nonce[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, m.proof(b, node, from)...))
}

func (m *adhoc) proof(b []byte, node, from string) []byte {
	h := hmac.New(sha256.New, m.key[:])
	h.Write(b)
	h.Write([]byte(node + "\x00" + from))
	return h.Sum(nil)[:16]
}

// check refuses an id that is not the requester's, or is too old.
func (m *adhoc) check(id, node, from string, now time.Time) error {
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) != 32 || !hmac.Equal(b[16:], m.proof(b[:16], node, from)) {
		return stanza.ErrBadRequest.WithApp(condition("bad-sessionid"))
	}
	if made := time.UnixMilli(int64(binary.BigEndian.Uint64(b))); now.Sub(made) > lifetime {
		return stanza.ErrNotAllowed.WithApp(condition("session-expired"))
	}
	return nil
}

// node says what commands there are (XEP-0050 §3.2).
func (m *adhoc) node(t *module.Transit, to module.Target, node string) (*xdisco.Info, *xdisco.Items, error) {
	if node == ns.Commands {
		items := new(xdisco.Items)
		for _, c := range t.Host.Commands(to) {
			if c.May(t) {
				items.Items = append(items.Items, xdisco.Item{JID: t.To, Node: c.Node, Name: c.Name})
			}
		}
		return &xdisco.Info{
			Identities: []xdisco.Identity{{Category: "automation", Type: "command-list"}},
			Features:   []string{ns.Commands},
		}, items, nil
	}
	c := t.Host.CommandOf(to, node)
	switch {
	case c == nil:
		return nil, nil, nil
	case !c.May(t):
		return nil, nil, stanza.ErrForbidden
	}
	return &xdisco.Info{
		Identities: []xdisco.Identity{{Category: "automation", Type: "command-node", Name: c.Name}},
		Features:   []string{ns.Commands, ns.DataForm},
	}, new(xdisco.Items), nil
}
