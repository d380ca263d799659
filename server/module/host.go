// Package module is the contract between a server and its modules: what a
// virtual host consists of, in which order steps act on a stanza, who answers an
// iq, and what can be learnt.
//
// A module registers in attach and nowhere else; once all modules are attached a
// Host does not change. A reload builds a new one and swaps the pointer, so a
// module keeps its configuration only: state lives in actors, in engines or in
// the store.
package module

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kith/server/account"
	"kith/server/caps"
	"kith/server/config"
	"kith/server/delegation"
	"kith/server/factor"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// Host is one virtual host.
type Host struct {
	Domain   jid.JID
	Stages   Stages
	Facts    Facts
	DB       *storage.DB
	Accounts *account.Store
	Factors  *factor.Store
	Caps     *caps.Cache
	Managed  *delegation.Cache // by external components
	Router   Router
	Config   *config.Config
	Version  string    // of the program
	Begun    time.Time // when the server was started
	Log      *slog.Logger

	iqs      map[iqKey]answerer
	disco    Disco
	nodes    []NodeFunc
	nested   NestedFunc
	commands map[Target][]Command
	services map[jid.JID]Service
	early    []Early
	informs  []xmltree.Appender
	inlines  []Inline
	kept     []account.Kept
	wait     func(*stanza.Stanza) session.Waiting
	jobs     []Job
	specs    []Spec
	greets   []GreetFunc
	diverts  []func(*Transit) IQFunc
	toHost   map[xmltree.Name]Step
}

// Router takes stanzas that the server makes, after the batch under way is
// committed.
type Router interface {
	Route(t *Transit, st *stanza.Stanza)
	RouteMany(t *Transit, to []jid.JID, st *stanza.Stanza, live bool)
	// Ask routes an iq request in the name of the host or of one of its accounts and
	// returns the id that it gives it. heard gets the answer, which is taken only from
	// who was asked; it is waited for no longer than within, nor than the server runs.
	// Beyond a bound of questions, the answer is resource-constraint at once.
	Ask(t *Transit, st *stanza.Stanza, within time.Duration, heard Heard) (id string)
}

// Service takes all stanzas of a domain of its own.
type Service interface {
	Take(ctx context.Context, t *Transit) error
}

// StreamFeature declares what is told among the features of a stream whose client
// has authenticated. It is nothing to be negotiated.
func (h *Host) StreamFeature(f xmltree.Appender) { h.informs = append(h.informs, f) }

// StreamFeatures returns what was declared with StreamFeature.
func (h *Host) StreamFeatures() []xmltree.Appender { return h.informs }

// Keep declares what a resource keeps of a module while its session waits for
// its client and the server is not running.
func (h *Host) Keep(slots ...account.Kept) { h.kept = append(h.kept, slots...) }

// Kept returns what was declared with Keep.
func (h *Host) Kept() []account.Kept { return h.kept }

// WhileInactive declares what becomes of a stanza for a client that is inactive.
func (h *Host) WhileInactive(wait func(*stanza.Stanza) session.Waiting) { h.wait = wait }

// Entry makes of a stanza what goes into the queues of sessions; to is what they
// see as its address.
func (h *Host) Entry(st *stanza.Stanza, to string, rs ...*account.Resource) session.Entry {
	e := session.Entry{Kind: st.Kind, To: to, Tail: st.Tail()}
	if h.wait != nil && slices.ContainsFunc(rs, func(r *account.Resource) bool { return r.Inactive }) {
		e.Waiting, e.From = h.wait(st), st.From.String()
	}
	if e.From == "" && slices.ContainsFunc(rs, func(r *account.Resource) bool { return r.Behind }) {
		e.From = st.From.String()
	}
	return e
}

// Service gives a domain below the host's to s.
func (h *Host) Service(domain jid.JID, s Service) {
	if h.services == nil {
		h.services = make(map[jid.JID]Service)
	}
	if _, taken := h.services[domain]; taken {
		panic(fmt.Sprintf("module: two services for %s", domain))
	}
	h.services[domain] = s
}

// Spec is a specification that a module implements.
type Spec struct {
	Number  int // of the XEP; 0 for an RFC or a proposal
	RFC     int
	Title   string // of a proposal that has no number
	Version string
	Note    string // what part of it, if not all
}

// XEP names an extension and the version of its text that the code follows.
func XEP(number int, version string) Spec { return Spec{Number: number, Version: version} }

// RFC names an RFC.
func RFC(number int, note string) Spec { return Spec{RFC: number, Note: note} }

// Proposal names an extension that has no number yet, and the version of its text.
func Proposal(title, version string) Spec { return Spec{Title: title, Version: version} }

// Partly says what part of the specification is implemented.
func (s Spec) Partly(note string) Spec {
	s.Note = note
	return s
}

// Definition is a module.
type Definition struct {
	Name   string
	Specs  []Spec
	attach func(*Host) error
}

// Define makes a module of its attach function. C is the type of its table
// [modules.NAME] in the configuration; its zero value, or what its method Default
// sets, holds where the table says nothing.
func Define[C any](name string, attach func(*Host, C) error, specs ...Spec) Definition {
	return Definition{Name: name, Specs: specs, attach: func(h *Host) error {
		var c C
		if d, ok := any(&c).(interface{ Default() }); ok {
			d.Default()
		}
		if err := h.Config.Module(name, &c); err != nil {
			return err
		}
		return attach(h, c)
	}}
}

// Attach has a module register with a host.
func (d Definition) Attach(h *Host) error {
	if err := d.attach(h); err != nil {
		return fmt.Errorf("module %s: %w", d.Name, err)
	}
	h.specs = append(h.specs, d.Specs...)
	return nil
}
