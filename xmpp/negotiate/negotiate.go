// Package negotiate brings a stream from its first header to a bound resource:
// RFC 6120 §4.3, for both ends.
//
// A Step is one stream feature seen from both ends. The order of the steps is
// the order in which the receiving entity offers them and the initiating entity
// takes them. Serve is the receiving entity, Initiate the initiating one. Steps
// hold configuration only and may be shared by streams; what belongs to one
// stream is in its State.
//
// Laws: the host is fixed by the first header; nothing is carried over a
// restart that was learned before it, but for who the peer has proved to be;
// where TLS is required nothing else is offered or accepted before it.
package negotiate

import (
	"context"
	"crypto/tls"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Step is one stream feature, seen from both ends.
type Step interface {
	// Offer returns what goes into the features of a stream that has come as
	// far as st says, nil for nothing. (Receiving entity.)
	Offer(st *State) xmltree.Appender
	// Serve acts upon an element that the peer sent. (Receiving entity.)
	Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error)
	// Take acts upon the features that the peer offers. (Initiating entity.)
	Take(ctx context.Context, st *State, features xmltree.Element) (Outcome, error)
}

// Outcome says how the negotiation goes on.
type Outcome int

// What Serve and Take return.
const (
	Pass     Outcome = iota // the element or the offer is not for this step
	Handled                 // the step is done with it, the stream goes on
	Restart                 // the step has begun a new stream: both ends send headers
	Again                   // new features follow on the same stream
	Complete                // the stream is negotiated
)

// State is what one end knows of a stream while it is negotiated and
// afterwards.
type State struct {
	Conn   stream.Transport
	Host   jid.JID       // the receiving entity
	Header stream.Header // the peer's, of the stream as it is now
	ID     string        // of the stream as it is now
	User   jid.JID       // the bare JID that is authenticated; zero before
	JID    jid.JID       // the full JID that is bound; zero before

	Agent     UserAgent // of the peer, if it logged in by XEP-0388
	Mechanism string    // by which the user authenticated
	SM        *Enabled  // stream management, if it has been enabled
	Gained    Gained    // by an initiating entity that logged in by XEP-0388
	Limits    MaxLimits // announced by the peer (XEP-0478)
	Bidi      bool      // stanzas may go both ways between servers (XEP-0288)
	// DialbackErrors says that the receiving server handles errors of dialback without
	// ending the stream (XEP-0220 §2.4.2).
	DialbackErrors bool
	// Early are elements that came while an answer was waited for, or that ended
	// the negotiation of a stream between servers, in their order.
	Early []xmltree.Element

	tlsRequired bool
	bindings    []sasl.Binding // of the connection, once asked for
	secured     bool           // bindings are those of the TLS connection
	exchange    sasl.Server    // under way
	login       *login         // by XEP-0388, under way
	steps       []Step         // of the receiving entity
	offered     stream.Features
	version     version  // of them
	ahead       *attempt // sent before the features came (initiating entity)
	refusals    int      // by SASL
	binds       int      // refused
	asked       bool     // EXTERNAL: for the authorization identity
	requests    int      // before log-in
	own         jid.JID  // the account an initiating entity logs in to
	early       int      // bytes of Early
}

// locked reports whether TLS must come first.
func (st *State) locked() bool { return st.tlsRequired && !st.Conn.Secure() }

// channelBindings returns the bindings of the connection. They are made once:
// each costs a derivation.
func (st *State) channelBindings() []sasl.Binding {
	if secure := st.Conn.Secure(); secure != st.secured {
		st.bindings, st.secured = st.Conn.Bindings(), secure
	}
	return st.bindings
}

// tlsVersion returns the version of TLS of the connection, 0 without or if that is
// not known.
func (st *State) tlsVersion() uint16 {
	if c, ok := st.Conn.(interface{ TLS() *tls.ConnectionState }); ok {
		if state := c.TLS(); state != nil {
			return state.Version
		}
	}
	return 0
}

// write sends elements in one batch.
func (st *State) write(elements ...xmltree.Appender) error {
	return stream.Write(st.Conn, elements...)
}

// markup is an Appender made of a function.
type markup func(w *xmltree.Writer)

// AppendXML implements xmltree.Appender.
func (m markup) AppendXML(w *xmltree.Writer) { m(w) }

// empty is an element without attributes and content.
type empty xmltree.Name

// AppendXML implements xmltree.Appender.
func (e empty) AppendXML(w *xmltree.Writer) { w.Element(xmltree.Name(e), "") }

// refusal is what a peer gets whose element no step wants.
func refusal(el xmltree.Element) *stream.Error {
	switch {
	// RFC 6120 §4.3.5, §7.1: no stanzas before the negotiation is complete.
	case stanza.KindOf(el) != 0:
		return stream.ErrNotAuthorized
	// RFC 6120 §4.8.3: a content namespace that is not ours.
	case el.Name().Space == ns.Server:
		return stream.ErrInvalidNamespace
	}
	return stream.ErrUnsupportedStanzaType
}
