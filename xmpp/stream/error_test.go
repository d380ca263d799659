package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

type app struct{}

func (app) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: "urn:example", Local: "why"}, "")
}

func TestErrorXML(t *testing.T) {
	tests := []struct {
		err  *Error
		want string
	}{
		{ErrNotAuthorized, "<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"},
		{SeeOtherHost("[2001:db8::1]:9222"), "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[2001:db8::1]:9222</see-other-host>"},
		{ErrUndefinedCondition.With("a < b").WithApp(app{}).Because(io.EOF),
			"<undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" +
				"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a &lt; b</text><why xmlns='urn:example'/>"},
	}
	for _, tt := range tests {
		want := "<stream:error xmlns:stream='http://etherx.jabber.org/streams'>" + tt.want + "</stream:error>"
		if got := string(xmltree.Marshal(tt.err, ns.Client)); got != want {
			t.Errorf("%v is written\n%s, want\n%s", tt.err, got, want)
		}
		el, err := xmltree.Build(tt.err)
		if err != nil {
			t.Fatal(err)
		}
		back := ParseError(el)
		if !errors.Is(back, tt.err) || back.Text != tt.err.Text || back.Value != tt.err.Value || (back.App != nil) != (tt.err.App != nil) {
			t.Errorf("%v is read back as %v", tt.err, back)
		}
	}
}

func TestParseUnknownError(t *testing.T) {
	el, err := xmltree.Build(&Error{Condition: "out-of-tea"})
	if err != nil {
		t.Fatal(err)
	}
	// RFC 6120 §4.9.2
	if got := ParseError(el); !errors.Is(got, ErrUndefinedCondition) {
		t.Errorf("an unknown condition is read as %v", got)
	}
}

func TestErrorFor(t *testing.T) {
	tests := []struct {
		err  error
		want *Error
	}{
		{nil, nil},
		{io.EOF, nil},
		{io.ErrUnexpectedEOF, nil},
		{net.ErrClosed, nil},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, nil},
		{&PeerError{ErrConflict}, nil},
		{ErrClosed, nil},
		{context.Canceled, nil},
		{os.ErrDeadlineExceeded, ErrConnectionTimeout},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, ErrConnectionTimeout},
		{context.DeadlineExceeded, ErrConnectionTimeout},
		{fmt.Errorf("x: %w", ErrHostUnknown), ErrHostUnknown},
		{ErrBuffered, ErrPolicyViolation},
		{errors.New("disk is full"), ErrInternalServerError},
		{&xmltree.SyntaxError{Kind: xmltree.NotWellFormed}, ErrNotWellFormed},
		{&xmltree.SyntaxError{Kind: xmltree.RestrictedXML}, ErrRestrictedXML},
		{&xmltree.SyntaxError{Kind: xmltree.BadNamespacePrefix}, ErrBadNamespacePrefix},
		{&xmltree.SyntaxError{Kind: xmltree.PolicyViolation}, ErrPolicyViolation},
		{&xmltree.SyntaxError{Kind: xmltree.BadEncoding}, ErrUnsupportedEncoding},
		{&xmltree.SyntaxError{Kind: xmltree.InvalidNamespace}, ErrInvalidNamespace},
		{&xmltree.SyntaxError{Kind: xmltree.BadFormat}, ErrBadFormat},
		{&xmltree.OversizeError{Size: 3, Limit: 2}, ErrPolicyViolation},
	}
	for _, tt := range tests {
		got := ErrorFor(tt.err)
		if (got == nil) != (tt.want == nil) || got != nil && !errors.Is(got, tt.want) {
			t.Errorf("ErrorFor(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestAtLeast1(t *testing.T) {
	for version, want := range map[string]bool{
		"": false, "0.9": false, "1.0": true, "1.12": true, "2.0": true, "12.3": true, "01.0": true, "00.9": false,
		"1": false, "1.": false, ".1": false, "x.0": false, "1.0.0": false, "-1.0": false,
	} {
		if got := AtLeast1(version); got != want {
			t.Errorf("AtLeast1(%q) = %v, want %v", version, got, want)
		}
	}
}

func TestHeader(t *testing.T) {
	h := Header{From: "a'b", To: "montague.example", ID: "1&2", Version: "1.0", Lang: "de", Content: ns.Server}
	want := "<?xml version='1.0'?><stream:stream from='a&apos;b' to='montague.example' id='1&amp;2' version='1.0' xml:lang='de' " +
		"xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'>"
	if got := string(appendHeader(nil, h, true)); got != want {
		t.Errorf("header is\n%s, want\n%s", got, want)
	}
	if a, b := NewID(), NewID(); a == b || len(a) < 22 {
		t.Errorf("ids %q and %q", a, b)
	}
}
