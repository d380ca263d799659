package negotiate

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var (
	nameResult          = xmltree.Name{Space: ns.Dialback, Local: "result"}
	nameVerify          = xmltree.Name{Space: ns.Dialback, Local: "verify"}
	nameDialbackFeature = xmltree.Name{Space: ns.DialbackFeature, Local: "dialback"}
	nameErrors          = xmltree.Name{Space: ns.DialbackFeature, Local: "errors"}
	nameBidi            = xmltree.Name{Space: ns.Bidi, Local: "bidi"}
	nameBidiFeature     = xmltree.Name{Space: ns.BidiFeature, Local: "bidi"}
	nameStanzaError     = xmltree.Name{Space: ns.Client, Local: "error"}
)

// Verdicts of dialback (XEP-0220 §2.1.1, §2.5); a question has none.
const (
	Valid   = "valid"
	Invalid = "invalid"
	Failing = "error"
)

// DialbackMechanism is the Mechanism of a State that dialback has authenticated.
const DialbackMechanism = "dialback"

// ErrDialback says that a server was not believed to be who it says.
var ErrDialback = errors.New("dialback failed")

// Dialback is an element of XEP-0220: a question, with a key, or its answer, with a
// verdict.
type Dialback struct {
	Verify   bool // <db:verify/>; else <db:result/>
	From, To jid.JID
	ID       string // of the stream that is verified; of a Verify only
	Verdict  string // Valid, Invalid or Failing; "" for a question
	Key      string
	Err      *stanza.Error // of a Failing
}

// ParseDialback reads an element. ok is false if it is none of dialback. Its
// addresses must be domains (RFC 6120 §4.9.3.7).
func ParseDialback(el xmltree.Element) (d Dialback, ok bool, err error) {
	if !el.Is(nameResult) && !el.Is(nameVerify) {
		return d, false, nil
	}
	d.Verify = el.Is(nameVerify)
	if d.From, err = domainOf(el.Attr("from")); err == nil {
		d.To, err = domainOf(el.Attr("to"))
	}
	if err != nil {
		return d, true, stream.ErrImproperAddressing.Because(err)
	}
	d.ID, d.Verdict = strings.Clone(el.Attr("id")), strings.Clone(el.Attr("type"))
	switch d.Verdict {
	case "":
		d.Key = strings.Clone(strings.TrimSpace(el.Text())) // some break the line
	case Valid, Invalid:
	case Failing:
		d.Err = dialbackError(el)
	default:
		return d, true, stream.ErrInvalidXML
	}
	if d.Verify && d.ID == "" {
		return d, true, stream.ErrInvalidXML.With("verify without the id of a stream")
	}
	return d, true, nil
}

func domainOf(s string) (jid.JID, error) {
	j, err := jid.Parse(s)
	if err == nil && (j.IsZero() || j != j.Host()) {
		err = fmt.Errorf("%q is no domain", s)
	}
	return j.Clone(), err
}

// dialbackError reads the error of XEP-0220 §2.5; what cannot be read is undefined.
func dialbackError(el xmltree.Element) *stanza.Error {
	e := &stanza.Error{Type: stanza.Cancel, Condition: stanza.ErrUndefinedCondition.Condition}
	for c := range el.Child(nameStanzaError).Children() {
		switch n := c.Name(); {
		case n.Space != ns.Stanzas:
		case n.Local == "text":
			e.Text = strings.Clone(c.Text())
		default:
			e.Condition = strings.Clone(n.Local)
		}
	}
	return e
}

// AppendXML writes the element.
func (d Dialback) AppendXML(w *xmltree.Writer) {
	name := nameResult
	if d.Verify {
		name = nameVerify
	}
	w.Open(name)
	w.Attr("from", d.From.String())
	w.Attr("to", d.To.String())
	w.AttrOpt("id", d.ID)
	w.AttrOpt("type", d.Verdict)
	w.Text(d.Key)
	if d.Err != nil {
		w.Append(d.Err)
	}
	w.Close()
}

// Answer returns the answer to a question.
func (d Dialback) Answer(verdict string) Dialback {
	return Dialback{Verify: d.Verify, From: d.To, To: d.From, ID: d.ID, Verdict: verdict}
}

// Refuse returns the answer to a question that could not be looked into (XEP-0220
// §2.5).
func (d Dialback) Refuse(why *stanza.Error) Dialback {
	a := d.Answer(Failing)
	a.Err = why
	return a
}

// DialbackKey makes the key by which a domain is recognised again (XEP-0185 §2).
// Neither domain has a space in it, so that no two inputs are written alike.
func DialbackKey(secret []byte, receiving, originating jid.JID, streamID string) string {
	hashed := sha256.Sum256(secret)
	mac := hmac.New(sha256.New, []byte(hex.EncodeToString(hashed[:])))
	mac.Write([]byte(receiving.Domain() + " " + originating.Domain() + " " + streamID))
	return hex.EncodeToString(mac.Sum(nil))
}

// ByDialback authenticates a server by XEP-0220.
type ByDialback struct {
	// Offered says that a receiving server takes it. The first element of it ends
	// the negotiation, and is among State.Early: more of them may come at any time.
	Offered bool
	// Key, of an initiating server that uses it, makes the key for a stream.
	Key func(streamID string) string
}

// Offer implements Step.
func (d ByDialback) Offer(st *State) xmltree.Appender {
	if !d.Offered || st.locked() {
		return nil
	}
	return markup(func(w *xmltree.Writer) {
		w.Open(nameDialbackFeature)
		w.Element(nameErrors, "")
		w.Close()
	})
}

// Serve implements Step.
func (d ByDialback) Serve(_ context.Context, st *State, el xmltree.Element) (Outcome, error) {
	ask, ok, err := ParseDialback(el)
	switch {
	case !ok || !d.Offered:
		return Pass, nil
	case err != nil:
		return 0, err
	case st.locked(): // XEP-0220 §2.5
		if ask.Verdict != "" {
			return Handled, nil
		}
		return Handled, st.write(ask.Refuse(stanza.ErrPolicyViolation.With("TLS comes first.")))
	}
	st.Early = append(st.Early, el)
	return Complete, nil
}

// Take implements Step.
func (d ByDialback) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	st.DialbackErrors = st.Conn.Secure() && features.Child(nameDialbackFeature).Child(nameErrors).Exists()
	if d.Key == nil || !st.User.IsZero() || !st.Conn.Secure() {
		return Pass, nil
	}
	ask := Dialback{From: st.own, To: st.Host, Key: d.Key(st.ID)}
	answer, err := st.dialback(ask)
	if err != nil {
		return 0, err
	}
	if answer.Verdict != Valid {
		return 0, refused(answer)
	}
	st.User, st.Mechanism = st.own, DialbackMechanism
	return Handled, nil
}

// dialback asks and waits for the answer: to this question, and no other (XEP-0220
// §4).
func (st *State) dialback(ask Dialback) (answer Dialback, err error) {
	if err := st.write(ask); err != nil {
		return answer, err
	}
	_, err = st.await(func(el xmltree.Element) bool {
		got, ok, err := ParseDialback(el)
		if !ok || err != nil || got.Verdict == "" || got.Verify != ask.Verify || got.From != ask.To || got.To != ask.From ||
			ask.Verify && got.ID != ask.ID {
			return false
		}
		answer = got
		return true
	})
	return answer, err
}

// refused is the error of an answer that is not Valid.
func refused(answer Dialback) error {
	if answer.Err != nil {
		return fmt.Errorf("%w: %w", ErrDialback, answer.Err)
	}
	return fmt.Errorf("%w: %s does not believe it", ErrDialback, answer.From)
}

// Verify asks the authoritative server of a domain whether a key is its own
// (XEP-0220 §2.1.2). That ends the negotiation; Verdict has the answer then.
// (Initiating entity.)
type Verify struct {
	Ask     Dialback
	Verdict *string
}

// Offer implements Step.
func (Verify) Offer(*State) xmltree.Appender { return nil }

// Serve implements Step.
func (Verify) Serve(context.Context, *State, xmltree.Element) (Outcome, error) { return Pass, nil }

// Take implements Step.
func (v Verify) Take(_ context.Context, st *State, _ xmltree.Element) (Outcome, error) {
	if !st.Conn.Secure() {
		return Pass, nil
	}
	answer, err := st.dialback(v.Ask)
	if err != nil {
		return 0, err
	}
	if answer.Err != nil {
		return 0, refused(answer)
	}
	*v.Verdict = answer.Verdict
	return Complete, nil
}

// Bidi lets stanzas go both ways between two servers (XEP-0288).
type Bidi struct {
	Use bool
	// Limits are what an initiating server announces: it has no features to do so with
	// (XEP-0478 §3.2).
	Limits MaxLimits
}

// Offer implements Step.
func (b Bidi) Offer(st *State) xmltree.Appender {
	// §2.1: also before TLS, with which it has nothing to do.
	if !b.Use || !st.User.IsZero() || st.Bidi {
		return nil
	}
	return empty(nameBidiFeature)
}

// Serve implements Step.
func (b Bidi) Serve(_ context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if !b.Use || !el.Is(nameBidi) {
		return Pass, nil
	}
	// §2.2: TLS comes first, authentication later.
	if !st.Conn.Secure() || !st.User.IsZero() {
		return 0, stream.ErrPolicyViolation.With("bidi out of order")
	}
	st.Bidi, st.Limits = true, parseLimits(el.Child(nameLimits))
	return Handled, nil
}

// Take implements Step.
func (b Bidi) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	if !b.Use || !st.Conn.Secure() || !st.User.IsZero() || st.Bidi || !features.Child(nameBidiFeature).Exists() {
		return Pass, nil
	}
	st.Bidi = true
	return Handled, st.write(markup(func(w *xmltree.Writer) {
		w.Open(nameBidi)
		if b.Limits != (MaxLimits{}) {
			w.Append(b.Limits)
		}
		w.Close()
	}))
}
