package negotiate

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Names of the elements of XEP-0198.
var (
	NameSM       = xmltree.Name{Space: ns.Acks, Local: "sm"}
	NameEnable   = xmltree.Name{Space: ns.Acks, Local: "enable"}
	NameEnabled  = xmltree.Name{Space: ns.Acks, Local: "enabled"}
	NameResume   = xmltree.Name{Space: ns.Acks, Local: "resume"}
	NameResumed  = xmltree.Name{Space: ns.Acks, Local: "resumed"}
	NameFailed   = xmltree.Name{Space: ns.Acks, Local: "failed"}
	NameRequest  = xmltree.Name{Space: ns.Acks, Local: "r"}
	NameAck      = xmltree.Name{Space: ns.Acks, Local: "a"}
	nameTooHigh  = xmltree.Name{Space: ns.Acks, Local: "handled-count-too-high"}
	unexpectedSM = Failed{Condition: "unexpected-request"}
)

// SM offers XEP-0198: Stream Management. A server's session answers <enable/>
// itself, after the negotiation, for the counting begins with its answer; here
// the order of things is enforced. A client enables it as soon as a resource is
// bound.
type SM struct {
	Resume  bool    // a client asks for a stream that can be resumed
	Resumer Resumer // a server's; nil: nothing can be resumed
}

// Resumer knows the sessions of streams that were lost.
type Resumer interface {
	// Resume gives the stream under negotiation the session of another one of the
	// same user, of whose stanzas the client has handled h. It sees to it that
	// what answer makes of <resumed/> and the address is the first that is sent.
	// failed says why there is none to be resumed; the client may bind a resource
	// then. err ends the stream.
	Resume(ctx context.Context, user jid.JID, want Resume, answer func(full jid.JID, r Resumed) xmltree.Appender) (full jid.JID, failed *Failed, err error)
}

// Offer implements Step.
func (SM) Offer(st *State) xmltree.Appender {
	if st.User.IsZero() || st.SM != nil {
		return nil
	}
	return empty(NameSM)
}

// Serve implements Step.
func (s SM) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	switch el.Name() {
	// XEP-0198 §3: not before a resource is bound.
	case NameEnable:
		return Handled, st.write(unexpectedSM)
	case NameResume:
		if st.User.IsZero() {
			return Handled, st.write(unexpectedSM)
		}
		return s.resume(ctx, st, el)
	}
	return Pass, nil
}

// resume serves XEP-0198 §5: after authentication, in the place of binding.
func (s SM) resume(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if s.Resumer == nil {
		return Handled, st.write(Failed{Condition: "feature-not-implemented"})
	}
	want, err := ParseResume(el)
	if err != nil {
		return 0, err
	}
	full, failed, err := s.Resumer.Resume(ctx, st.User, want, func(_ jid.JID, r Resumed) xmltree.Appender { return r })
	switch {
	case err != nil:
		return 0, fmt.Errorf("resume a session of %s: %w", st.User, err)
	case failed == nil:
		st.JID = full
		return Complete, nil
	}
	if st.binds++; st.binds >= maxBinds {
		return 0, stream.ErrPolicyViolation.With("too many attempts to resume a session")
	}
	return Handled, st.write(failed)
}

// Take implements Step.
func (s SM) Take(_ context.Context, st *State, features xmltree.Element) (Outcome, error) {
	if st.JID.IsZero() || st.SM != nil || !features.Child(NameSM).Exists() {
		return Pass, nil
	}
	if err := st.write(Enable{Resume: s.Resume}); err != nil {
		return 0, err
	}
	el, err := st.await(func(el xmltree.Element) bool { return el.Is(NameEnabled) || el.Is(NameFailed) })
	if err != nil {
		return 0, fmt.Errorf("enable stream management: %w", err)
	}
	if el.Is(NameEnabled) {
		e := ParseEnabled(el)
		st.SM = &e
	}
	return Handled, nil
}

// Enable asks for stream management.
type Enable struct {
	Resume bool
	Max    int // seconds for which the stream should be kept; 0: not said
}

// AppendXML implements xmltree.Appender.
func (e Enable) AppendXML(w *xmltree.Writer) {
	w.Open(NameEnable)
	writeResume(w, e.Resume)
	writeMax(w, e.Max)
	w.Close()
}

// ParseEnable reads an <enable/>.
func ParseEnable(el xmltree.Element) Enable {
	return Enable{Resume: boolean(el.Attr("resume")), Max: number(el.Attr("max"))}
}

// Enabled grants it.
type Enabled struct {
	ID       string // to resume by
	Resume   bool
	Max      int
	Location string // where to resume, in the form of RFC 6120 §4.9.3.19
}

// AppendXML implements xmltree.Appender.
func (e Enabled) AppendXML(w *xmltree.Writer) {
	w.Open(NameEnabled)
	w.AttrOpt("id", e.ID)
	writeResume(w, e.Resume)
	writeMax(w, e.Max)
	w.AttrOpt("location", e.Location)
	w.Close()
}

// ParseEnabled reads an <enabled/>.
func ParseEnabled(el xmltree.Element) Enabled {
	return Enabled{
		ID:       strings.Clone(el.Attr("id")),
		Resume:   boolean(el.Attr("resume")),
		Max:      number(el.Attr("max")),
		Location: strings.Clone(el.Attr("location")),
	}
}

// Resume asks for the session of a stream that was lost.
type Resume struct {
	PrevID string
	H      uint32 // of what the asking side has handled
}

// AppendXML implements xmltree.Appender.
func (r Resume) AppendXML(w *xmltree.Writer) { writeResumption(w, NameResume, r.PrevID, r.H) }

// ParseResume reads a <resume/>.
func ParseResume(el xmltree.Element) (Resume, error) {
	h, err := handled(el)
	return Resume{PrevID: strings.Clone(el.Attr("previd")), H: h}, err
}

// Resumed grants it.
type Resumed Resume

// AppendXML implements xmltree.Appender.
func (r Resumed) AppendXML(w *xmltree.Writer) { writeResumption(w, NameResumed, r.PrevID, r.H) }

func writeResumption(w *xmltree.Writer, n xmltree.Name, previd string, h uint32) {
	w.Open(n)
	w.Attr("previd", previd)
	w.Attr("h", strconv.FormatUint(uint64(h), 10))
	w.Close()
}

func writeResume(w *xmltree.Writer, resume bool) {
	if resume {
		w.Attr("resume", "true")
	}
}

func writeMax(w *xmltree.Writer, max int) {
	if max > 0 {
		w.Attr("max", strconv.Itoa(max))
	}
}

// boolean reads an xs:boolean.
func boolean(s string) bool { return s == "true" || s == "1" }

// Failed refuses to enable or resume.
type Failed struct {
	Condition string // of RFC 6120 §8.3.3
	Handled   bool   // H is known: stanzas of the stream that is gone
	H         uint32
}

// AppendXML implements xmltree.Appender.
func (f Failed) AppendXML(w *xmltree.Writer) {
	w.Open(NameFailed)
	if f.Handled {
		w.Attr("h", strconv.FormatUint(uint64(f.H), 10))
	}
	w.Element(xmltree.Name{Space: ns.Stanzas, Local: f.Condition}, "")
	w.Close()
}

// Ack is <a/>: H stanzas have been handled.
type Ack struct{ H uint32 }

// AppendXML implements xmltree.Appender.
func (a Ack) AppendXML(w *xmltree.Writer) {
	w.Open(NameAck)
	w.Attr("h", strconv.FormatUint(uint64(a.H), 10))
	w.Close()
}

// ParseAck reads the h of an <a/>.
func ParseAck(el xmltree.Element) (h uint32, err error) { return handled(el) }

// handled reads an h. XEP-0198 §4 makes it an xs:unsignedInt that must be there.
func handled(el xmltree.Element) (h uint32, err error) {
	n, err := strconv.ParseUint(el.Attr("h"), 10, 32)
	if err != nil {
		return 0, stream.ErrInvalidXML.With("h is not a number of stanzas")
	}
	return uint32(n), nil
}

// Request is <r/>: the peer is to ack.
type Request struct{}

// AppendXML implements xmltree.Appender.
func (Request) AppendXML(w *xmltree.Writer) { w.Element(NameRequest, "") }

// Received counts the stanzas of the peer that have been handled. It goes from
// 2^32-1 to 0, as XEP-0198 §4 has it. The zero value is that of a stream on
// which management has just been enabled.
type Received struct{ h uint32 }

// Add counts n stanzas.
func (r *Received) Add(n int) { r.h += uint32(n) }

// H is what to ack.
func (r Received) H() uint32 { return r.h }

// Sent counts our own stanzas and what the peer has acked of them, modulo 2^32.
type Sent struct{ sent, acked uint32 }

// Add counts n stanzas.
func (s *Sent) Add(n int) { s.sent += uint32(n) }

// H is the number of stanzas sent.
func (s Sent) H() uint32 { return s.sent }

// Rewind says that what the peer has not acked is sent anew, on another stream
// (XEP-0198 §5).
func (s *Sent) Rewind() { s.sent = s.acked }

// StartAt goes on from where another stream of the same session was.
func (s *Sent) StartAt(h uint32) { s.sent, s.acked = h, h }

// Acked is the h that the peer has acked.
func (s Sent) Acked() uint32 { return s.acked }

// Unacked is how many stanzas the peer has not acked.
func (s Sent) Unacked() int { return int(s.sent - s.acked) }

// Ack takes the h of the peer and returns how many stanzas, the oldest, it acks
// for the first time. The error is a *stream.Error: the peer claims to have
// handled what was not sent.
func (s *Sent) Ack(h uint32) (n int, err error) {
	// An h behind the last one, too, is so far ahead of it that nobody can
	// have sent as much.
	if h-s.acked > s.sent-s.acked {
		return 0, stream.ErrUndefinedCondition.With("you acked what was not sent").WithApp(tooHigh{h, s.sent})
	}
	n = int(h - s.acked)
	s.acked = h
	return n, nil
}

// tooHigh is the condition that XEP-0198 §4 gives an impossible h.
type tooHigh struct{ h, sent uint32 }

// AppendXML implements xmltree.Appender.
func (t tooHigh) AppendXML(w *xmltree.Writer) {
	w.Open(nameTooHigh)
	w.Attr("h", strconv.FormatUint(uint64(t.h), 10))
	w.Attr("send-count", strconv.FormatUint(uint64(t.sent), 10))
	w.Close()
}
