package negotiate

import (
	"context"

	"kith/xmpp/xmltree"
)

// Notice is a feature that only informs (RFC 6120 §4.3.2): a client that has
// authenticated reads it, and nothing is negotiated. (Receiving entity.)
type Notice struct{ Feature xmltree.Appender }

// Offer implements Step.
func (n Notice) Offer(st *State) xmltree.Appender {
	if n.Feature == nil || st.User.IsZero() {
		return nil
	}
	return n.Feature
}

// Serve implements Step.
func (Notice) Serve(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }

// Take implements Step.
func (Notice) Take(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }
