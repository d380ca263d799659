package negotiate

import (
	"context"
	"strconv"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

var (
	nameLimits   = xmltree.Name{Space: ns.Limits, Local: "limits"}
	nameMaxBytes = xmltree.Name{Space: ns.Limits, Local: "max-bytes"}
	nameIdle     = xmltree.Name{Space: ns.Limits, Local: "idle-seconds"}
)

// MaxLimits is what the receiving entity takes; 0 says nothing.
type MaxLimits struct {
	Bytes int           // of a first-level element
	Idle  time.Duration // without traffic, until it may ask or close
}

// Limits implements XEP-0478: Stream Limits Advertisement.
type Limits struct {
	Before, After MaxLimits // the peer has authenticated
}

// Offer implements Step.
func (l Limits) Offer(st *State) xmltree.Appender {
	m := l.Before
	if !st.User.IsZero() {
		m = l.After
	}
	if m == (MaxLimits{}) || st.locked() {
		return nil
	}
	return m
}

// AppendXML implements xmltree.Appender.
func (m MaxLimits) AppendXML(w *xmltree.Writer) {
	w.Open(nameLimits)
	if m.Bytes > 0 {
		w.Element(nameMaxBytes, strconv.Itoa(m.Bytes))
	}
	if m.Idle > 0 {
		w.Element(nameIdle, strconv.Itoa(int(m.Idle/time.Second)))
	}
	w.Close()
}

// Serve implements Step.
func (Limits) Serve(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }

// Take implements Step.
func (Limits) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	st.Limits = parseLimits(features.Child(nameLimits))
	return Pass, nil
}

// parseLimits reads what was announced. What cannot be read is as good as not said.
func parseLimits(el xmltree.Element) MaxLimits {
	return MaxLimits{
		Bytes: number(el.Child(nameMaxBytes).Text()),
		Idle:  time.Duration(number(el.Child(nameIdle).Text())) * time.Second,
	}
}

// number reads an xs:unsignedInt, 0 if it is none.
func number(s string) int {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}
