package negotiate

import (
	"context"

	"kith/xmpp/xmltree"
)

// PeerSM is XEP-0198 between servers: acknowledgements, without resumption. A receiving
// server answers <enable/> itself, once the peer has proved something.
type PeerSM struct{}

// Offer implements Step. Behind dialback there is no other announcement.
func (PeerSM) Offer(st *State) xmltree.Appender {
	if !st.Conn.Secure() {
		return nil
	}
	return empty(NameSM)
}

// Serve implements Step.
func (PeerSM) Serve(_ context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if !el.Is(NameEnable) && !el.Is(NameResume) {
		return Pass, nil
	}
	return Handled, st.write(unexpectedSM)
}

// Take implements Step: behind authentication, in the place of binding (XEP-0198 §3).
func (PeerSM) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	if st.User.IsZero() || st.SM != nil || !features.Child(NameSM).Exists() {
		return Pass, nil
	}
	if err := st.write(Enable{}); err != nil {
		return 0, err
	}
	el, err := st.await(func(el xmltree.Element) bool { return el.Is(NameEnabled) || el.Is(NameFailed) })
	if err != nil {
		return 0, err
	}
	if el.Is(NameEnabled) {
		e := ParseEnabled(el)
		st.SM = &e
	}
	return Handled, nil
}
