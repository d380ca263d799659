package negotiate

import (
	"context"
	"errors"
	"fmt"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Bounds of what is kept while an answer is waited for.
const (
	maxEarly      = 1000
	maxEarlyBytes = 8 << 20
)

// ErrNotOffered says that the receiving entity does not offer what is needed.
var ErrNotOffered = errors.New("needed stream feature is not offered")

// ClientOptions say how the initiating entity negotiates.
type ClientOptions struct {
	// Account is the bare JID to log in to; of one without a localpart only
	// the host matters.
	Account jid.JID
	// From is the domain that we speak for, on a stream between servers; Account
	// is the other one's then, and no resource is bound.
	From jid.JID
	// Lang is the language of the user, see RFC 6120 §4.7.4; may be "".
	Lang string
	// Steps are taken in their order.
	Steps []Step
	// Until, if it is not nil, says after each step whether that is enough;
	// otherwise a resource must be bound and every step taken.
	Until func(st *State) bool
}

// Initiate negotiates as the initiating entity, until each step has taken what
// it wants of the features and a resource is bound.
//
// If it fails, or when the context ends before it is done, the stream is
// closed.
func Initiate(ctx context.Context, conn stream.Transport, o ClientOptions) (*State, error) {
	st := &State{Conn: conn, Host: o.Account.Host(), own: o.Account.Bare()}
	if !o.From.IsZero() {
		st.own = o.From
	}
	stop := context.AfterFunc(ctx, func() { conn.Close(context.Canceled) })
	err := initiate(ctx, st, o)
	if !stop() {
		conn.Closed()
		return st, fmt.Errorf("negotiate stream: %w", ctx.Err())
	}
	if err != nil {
		conn.Close(tell(err))
		return st, err
	}
	return st, nil
}

// tell returns what the receiving entity is told of an error: nothing of our
// own troubles.
func tell(err error) error {
	var e *stream.Error
	switch {
	case errors.As(err, &e):
		return err
	// RFC 6120 §4.9.3.23.
	case errors.Is(err, ErrNotOffered):
		return stream.ErrUnsupportedFeature
	}
	return nil
}

func initiate(ctx context.Context, st *State, o ClientOptions) error {
	for {
		features, err := begin(st, o)
		if err != nil {
			return err
		}
		outcome, err := take(ctx, st, o, features)
		for err == nil && outcome == Again {
			if features, err = readFeatures(st); err == nil {
				outcome, err = take(ctx, st, o, features)
			}
		}
		if err != nil {
			return err
		}
		if outcome != Restart {
			return nil
		}
	}
}

// begin exchanges headers and reads the features.
func begin(st *State, o ClientOptions) (xmltree.Element, error) {
	h := stream.Header{To: st.Host.Domain(), Version: stream.Version, Lang: o.Lang, Content: ns.Client}
	switch {
	// RFC 6120 §4.7.1: a server says who it is at once, and of a user that is
	// nobody's business before TLS.
	case !o.From.IsZero():
		h.From, h.Content = o.From.String(), ns.Server
	case st.Conn.Secure() && st.own.Local() != "":
		h.From = st.own.String()
	}
	content := h.Content
	none := xmltree.Element{}
	var more []xmltree.Appender
	for _, step := range o.Steps {
		if s, ok := step.(interface{ Ahead(*State) xmltree.Appender }); ok {
			if a := s.Ahead(st); a != nil {
				more = append(more, a)
			}
		}
	}
	if err := st.Conn.Open(h, more...); err != nil {
		return none, err
	}
	h, err := st.Conn.ReadHeader()
	if err != nil {
		return none, err
	}
	if err := checkNames(h, content); err != nil {
		return none, err
	}
	st.Header, st.ID = h, h.ID
	el, err := st.Conn.ReadElement()
	if err != nil {
		return none, err
	}
	// Behind an error the version does not matter; else RFC 6120 §4.7.5 rule 3.
	if !stream.AtLeast1(h.Version) {
		return none, stream.ErrUnsupportedVersion
	}
	if !stream.IsFeatures(el) {
		return none, refusal(el)
	}
	return el, nil
}

// readFeatures reads the features that follow a log-in on the same stream (XEP-0388
// §2.6.1).
func readFeatures(st *State) (xmltree.Element, error) {
	el, err := st.Conn.ReadElement()
	if err == nil && !stream.IsFeatures(el) {
		err = refusal(el)
	}
	return el, err
}

// take lets each step have what it wants of the features.
func take(ctx context.Context, st *State, o ClientOptions, features xmltree.Element) (Outcome, error) {
	for _, step := range o.Steps {
		outcome, err := step.Take(ctx, st, features)
		if err != nil {
			return 0, err
		}
		if o.Until != nil && o.Until(st) {
			return Complete, nil
		}
		if outcome == Restart || outcome == Again || outcome == Complete {
			return outcome, nil
		}
	}
	if st.JID.IsZero() && (o.From.IsZero() || st.User.IsZero()) {
		return 0, ErrNotOffered
	}
	return Complete, nil
}

// ask sends an iq and waits for its answer.
func (st *State) ask(iq *stanza.Stanza) (*stanza.Stanza, error) {
	if err := st.write(iq); err != nil {
		return nil, err
	}
	el, err := st.await(func(el xmltree.Element) bool {
		t := el.Attr("type")
		return stanza.KindOf(el) == stanza.IQ && el.Attr("id") == iq.ID && (t == stanza.Result || t == stanza.TypeError)
	})
	if err != nil {
		return nil, err
	}
	reply, err := stanza.Parse(el)
	if err != nil {
		return nil, err
	}
	if reply.Type == stanza.TypeError {
		return nil, stanza.ErrorOf(reply)
	}
	return reply, nil
}

// await reads until an element is the one that is waited for. Others are kept,
// once the stream is one on which they may come.
func (st *State) await(wanted func(xmltree.Element) bool) (xmltree.Element, error) {
	for {
		el, err := st.Conn.ReadElement()
		if err != nil || wanted(el) {
			return el, err
		}
		st.early += el.Len()
		if st.User.IsZero() || len(st.Early) >= maxEarly || st.early > maxEarlyBytes {
			return el, refusal(el)
		}
		st.Early = append(st.Early, el)
	}
}
