package negotiate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"

	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var (
	nameVersion  = xmltree.Name{Space: ns.IAP, Local: "config-version"}
	nameMismatch = xmltree.Name{Space: ns.IAP, Local: "config-version-mismatch"}
)

// Version implements XEP-0509: a client that has seen the features before logs in
// without waiting for them. It stands behind all steps whose offers it covers.
type Version struct{}

// version is the value of a set of features.
type version string

// AppendXML implements xmltree.Appender.
func (v version) AppendXML(w *xmltree.Writer) {
	w.Open(nameVersion)
	w.Attr("scheme", "opaque")
	w.Attr("value", string(v))
	w.Close()
}

// Offer implements Step.
func (Version) Offer(st *State) xmltree.Appender {
	if !st.User.IsZero() || !st.Conn.Secure() {
		return nil
	}
	w := xmltree.NewWriter(make([]byte, 0, 2<<10), ns.Client)
	w.Append(st.offered)
	sum := sha256.Sum256(w.Bytes())
	st.version = version(base64.RawURLEncoding.EncodeToString(sum[:16]))
	return st.version
}

// Serve implements Step.
func (Version) Serve(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }

// Take implements Step.
func (Version) Take(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }

// offers collects what the steps offer.
func (st *State) offers(steps []Step) stream.Features {
	st.offered = nil
	for _, step := range steps {
		if offer := step.Offer(st); offer != nil {
			st.offered = append(st.offered, offer)
		}
	}
	return st.offered
}
