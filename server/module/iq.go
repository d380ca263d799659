package module

import (
	"context"
	"fmt"

	"kith/server/account"
	"kith/xmpp/jid"
	"kith/xmpp/xmltree"
)

// Target says whom an iq is addressed to.
type Target uint8

// Targets, to be combined with |.
const (
	ToServer  Target = 1 << iota // the host's own address
	ToAccount                    // a bare JID, or nobody: the sender's own account (RFC 6120 §10.3.3)
)

// IQFunc answers an iq request: with a result, whose payload may be nil, or with
// a *stanza.Error. It runs in the lane of the target's owner (for ToServer, of
// the sender) and must not block; the answer leaves once its rows are committed.
// With Stop it says that it has sent the answer, or will.
type IQFunc func(ctx context.Context, t *Transit) (xmltree.Appender, error)

// QueryFunc checks an iq request in the lane and returns what answers it outside,
// where it may read for as long as it takes. read must use nothing of t but what
// QueryFunc copied from it.
type QueryFunc func(ctx context.Context, t *Transit) (read func(context.Context) (xmltree.Appender, error), err error)

type iqKey struct {
	typ    string
	name   xmltree.Name
	target Target
}

type answerer struct {
	iq    IQFunc
	query QueryFunc
}

// IQ has f answer the requests of a type ("get" or "set") whose payload has that
// name. One function answers each.
func (h *Host) IQ(typ string, name xmltree.Name, to Target, f IQFunc) {
	h.answer(typ, name, to, answerer{iq: f})
}

// Query is IQ for an answer that may take long to read.
func (h *Host) Query(typ string, name xmltree.Name, to Target, f QueryFunc) {
	h.answer(typ, name, to, answerer{query: f})
}

func (h *Host) answer(typ string, name xmltree.Name, to Target, a answerer) {
	if h.iqs == nil {
		h.iqs = make(map[iqKey]answerer)
	}
	for _, one := range []Target{ToServer, ToAccount} {
		if to&one == 0 {
			continue
		}
		k := iqKey{typ, name, one}
		if _, taken := h.iqs[k]; taken {
			panic(fmt.Sprintf("module: two answers for iq %s %v", typ, name))
		}
		h.iqs[k] = a
	}
}

// Answerer returns what answers a request: one of the functions, or neither.
func (h *Host) Answerer(typ string, name xmltree.Name, to Target) (IQFunc, QueryFunc) {
	a := h.iqs[iqKey{typ, name, to}]
	return a.iq, a.query
}

// Early is what a client may ask before it has logged in: a module answers on
// the stream itself.
type Early struct {
	Feature xmltree.Appender // what is announced in the stream's features; nil: nothing
	Name    xmltree.Name     // of the payload it answers
	// Answer runs on the stream's goroutine and may wait for the store.
	Answer func(ctx context.Context, who *Stranger, typ string, payload xmltree.Element) (xmltree.Appender, error)
}

// Stranger is who has not logged in on a stream.
type Stranger struct {
	Source string         // by which the client's address is counted
	Ticket account.Ticket // of the invitation that was shown on this stream
}

// BeforeLogin declares what a client may ask before it has logged in.
func (h *Host) BeforeLogin(e Early) { h.early = append(h.early, e) }

// Earlies returns what was declared with BeforeLogin.
func (h *Host) Earlies() []Early { return h.early }

// ServiceOf returns the service of a domain, nil if there is none.
func (h *Host) ServiceOf(domain jid.JID) Service { return h.services[domain] }

// Request is something that a host answers.
type Request struct {
	Type   string // "get" or "set"
	Name   xmltree.Name
	Target Target // one
}

// Requests lists what the host answers, in no order.
func (h *Host) Requests() []Request {
	var all []Request
	for k := range h.iqs {
		all = append(all, Request{k.typ, k.name, k.target})
	}
	return all
}
