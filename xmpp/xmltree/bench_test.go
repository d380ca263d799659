package xmltree

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"
)

const (
	chat = `<message xmlns:x='urn:unused' from='juliet@capulet.example/balcony' id='b4c1a2f8-6d1e-4a43' to='romeo@montague.example' type='chat' xml:lang='en'>` +
		`<body>Wherefore art thou, Romeo? Deny thy father &amp; refuse thy name</body>` +
		`<active xmlns='http://jabber.org/protocol/chatstates'/>` +
		`<request xmlns='urn:xmpp:receipts'/>` +
		`<origin-id xmlns='urn:xmpp:sid:0' id='b4c1a2f8-6d1e-4a43'/></message>`
	presence = `<presence from='juliet@capulet.example/balcony' id='p1'><show>away</show><status>At the window</status><priority>5</priority>` +
		`<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://kith.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>` +
		`<x xmlns='vcard-temp:x:update'><photo>01b87fcd030b72895ff8e88db57ec525450f000d</photo></x></presence>`
	header = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>`
)

func rosterXML() string {
	var b strings.Builder
	b.WriteString(`<iq type='result' id='r1' to='juliet@capulet.example/balcony'><query xmlns='jabber:iq:roster' ver='v7'>`)
	for i := 0; b.Len() < 100_000; i++ {
		fmt.Fprintf(&b, `<item jid='contact%d@montague.example' name='Contact %d' subscription='both'><group>Friends</group></item>`, i, i)
	}
	b.WriteString(`</query></iq>`)
	return b.String()
}

// started is a decoder behind the header of a client's stream.
func started(tb testing.TB, limits Limits) *Decoder {
	tb.Helper()
	d := NewDecoder(limits)
	d.Feed([]byte(header))
	if _, err := d.Header(); err != nil {
		tb.Fatalf("Header of %q: %v", header, err)
	}
	return d
}

func benchmarkDecode(b *testing.B, in string) {
	d, p := started(b, Limits{Elements: 1 << 20}), []byte(in)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		d.Feed(p)
		if _, err := d.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChat(b *testing.B)     { benchmarkDecode(b, chat) }
func BenchmarkPresence(b *testing.B) { benchmarkDecode(b, presence) }
func BenchmarkRoster(b *testing.B)   { benchmarkDecode(b, rosterXML()) }

// BenchmarkChatInTwo is a chat message that two reads brought.
func BenchmarkChatInTwo(b *testing.B) {
	d, p := started(b, Limits{}), []byte(chat)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		d.Feed(p[:len(p)/2])
		if _, err := d.Next(); err != ErrIncomplete {
			b.Fatal(err)
		}
		d.Feed(p[len(p)/2:])
		if _, err := d.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodingXML is what encoding/xml takes for the tokens of a chat message.
func BenchmarkEncodingXML(b *testing.B) {
	b.SetBytes(int64(len(chat)))
	b.ReportAllocs()
	for b.Loop() {
		d := xml.NewDecoder(strings.NewReader(chat))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkSplice(b *testing.B) {
	e, err := ParseIn(nsClient, []byte(chat), Limits{})
	if err != nil || !e.Clean() {
		b.Fatal(err, e.Clean())
	}
	buf := make([]byte, 0, 1024)
	var w Writer
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(buf, nsClient)
		e.AppendXML(&w)
	}
}

func BenchmarkWrite(b *testing.B) {
	buf := make([]byte, 0, 1024)
	var w Writer
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(buf, nsClient)
		w.Open(Name{nsClient, "message"})
		w.Attr("to", "romeo@montague.example")
		w.Attr("from", "juliet@capulet.example/balcony")
		w.Attr("type", "chat")
		w.Element(Name{nsClient, "body"}, "Wherefore art thou, Romeo? Deny thy father & refuse thy name")
		w.Open(Name{"urn:xmpp:receipts", "request"})
		w.Close()
		w.Close()
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	check := func(name string, want float64, f func()) {
		t.Helper()
		f()
		if got := testing.AllocsPerRun(200, f); got > want {
			t.Errorf("%s: %v allocations, want at most %v", name, got, want)
		}
	}
	for name, in := range map[string]string{"chat": chat, "presence": presence, "roster": rosterXML()} {
		d, p := started(t, Limits{Elements: 1 << 20}), []byte(in)
		check("parse "+name, 3, func() {
			d.Feed(p)
			if _, err := d.Next(); err != nil {
				t.Fatalf("Next of %s: %v", name, err)
			}
		})
	}
	e, err := ParseIn(nsClient, []byte(chat), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var sink int
	check("read a message", 1, func() { // the body has an entity
		sink += len(e.Attr("to")) + len(e.Name().Space) + len(e.Child(Name{nsClient, "body"}).Text())
		for c := range e.Children() {
			sink += len(c.Name().Space)
		}
		for n, v := range e.Attrs() {
			sink += len(n.Local) + len(v)
		}
		if e.Child(Name{"urn:xmpp:receipts", "request"}).Exists() {
			sink++
		}
	})
	buf, w := make([]byte, 0, 1024), new(Writer)
	check("splice a message", 0, func() {
		w.Reset(buf, nsClient)
		e.AppendXML(w)
	})
	check("splice a message into another element", 0, func() {
		w.Reset(buf, "urn:xmpp:forward:0")
		e.AppendXML(w)
	})
	kept := []byte(chat)
	check("splice a message that is kept as bytes", 0, func() {
		w.Reset(buf, "urn:xmpp:forward:0")
		if err := w.Stored(nsClient, kept, Limits{}); err != nil {
			t.Fatal(err)
		}
	})
}
