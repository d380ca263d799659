package module

import (
	"fmt"
	"slices"

	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Deputy acts in the name of accounts, for external components. A Host's Router is
// one.
type Deputy interface {
	// Behalf sends a message in the name of the account that it is from, through the
	// stages of what leaves. refuse is called, on any goroutine, if it may not.
	Behalf(t *Transit, st *stanza.Stanza, refuse func(error))
	// Take routes stanzas that the server makes outside the lanes.
	Take(sts ...*stanza.Stanza)
	// Accounts lists who has a session at a host.
	Accounts(host jid.JID) []jid.JID
	// Connected reports whether an external component is connected.
	Connected(component jid.JID) bool
}

// Managers returns the components that have a privilege at the host (XEP-0356) and
// are connected. What is told to them of its own accord does not wait for them.
func (h *Host) Managers(may func(*config.Privileges) bool) []jid.JID {
	all := h.Config.PrivilegedWhere(h.Domain, may)
	if deputy, ok := h.Router.(Deputy); ok && len(all) > 0 {
		all = slices.DeleteFunc(all, func(j jid.JID) bool { return !deputy.Connected(j) })
	}
	return all
}

// GreetFunc returns what an external component is told when it has connected, nil
// if that is nothing, and what is to be done behind that, which may be nil. It
// runs on the stream's goroutine, and again for those that are connected when what
// they may do changes.
type GreetFunc func(component jid.JID) (tell []*stanza.Stanza, then func())

// Greet has f greet external components.
func (h *Host) Greet(f GreetFunc) { h.greets = append(h.greets, f) }

// Greetings returns those who greet external components.
func (h *Host) Greetings() []GreetFunc { return h.greets }

// Message has f take the messages to the host itself that have a child of that
// name, in the host's own lane: there is no Account.
func (h *Host) Message(name xmltree.Name, f Step) {
	if h.toHost == nil {
		h.toHost = make(map[xmltree.Name]Step)
	}
	if _, taken := h.toHost[name]; taken {
		panic(fmt.Sprintf("module: two takers for messages with %v", name))
	}
	h.toHost[name] = f
}

// Addressed returns who takes a message to the host itself, nil if nobody does.
func (h *Host) Addressed(st *stanza.Stanza) Step {
	if len(h.toHost) == 0 {
		return nil
	}
	for c := range st.Children() {
		if f := h.toHost[c.Name()]; f != nil {
			return f
		}
	}
	return nil
}

// Divert has f say of each request to the host or to one of its accounts whether
// something else answers it than what was declared with IQ and Query: nil if not.
func (h *Host) Divert(f func(t *Transit) IQFunc) { h.diverts = append(h.diverts, f) }

// Diverted returns what answers a request in the place of what was declared, nil
// if nothing does.
func (h *Host) Diverted(t *Transit) IQFunc {
	for _, f := range h.diverts {
		if answer := f(t); answer != nil {
			return answer
		}
	}
	return nil
}
