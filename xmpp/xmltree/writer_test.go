package xmltree

import (
	"strings"
	"testing"
)

// writes is an Appender by function.
type writes func(w *Writer)

func (f writes) AppendXML(w *Writer) { f(w) }

func TestWriter(t *testing.T) {
	for _, c := range []struct {
		rule, content, want string
		f                   writes
	}{
		{"empty", nsClient, "<a/>", func(w *Writer) { w.Open(Name{"", "a"}); w.Close() }},
		{"no text is empty", nsClient, "<a/>", func(w *Writer) { w.Element(Name{nsClient, "a"}, "") }},
		{"declared where it changes", nsClient, "<a><b xmlns='u'><c/><d xmlns='jabber:client'/></b><e/></a>", func(w *Writer) {
			w.Open(Name{nsClient, "a"})
			w.Open(Name{"u", "b"})
			w.Element(Name{"", "c"}, "")
			w.Element(Name{nsClient, "d"}, "")
			w.Close()
			w.Element(Name{nsClient, "e"}, "")
			w.Close()
		}},
		{"document", "", "<a xmlns='jabber:client'><b/></a>", func(w *Writer) {
			w.Open(Name{nsClient, "a"})
			w.Element(Name{nsClient, "b"}, "")
			w.Close()
		}},
		{"re-scoped", nsServer, "<a><b/><c xmlns='u'><d xmlns='jabber:client'/></c></a>", func(w *Writer) {
			w.Open(Name{nsClient, "a"})
			w.Element(Name{nsServer, "b"}, "")
			w.Open(Name{"u", "c"})
			w.Element(Name{nsClient, "d"}, "")
			w.Close()
			w.Close()
		}},
		{"other content", nsClient, "<a xmlns='jabber:server'/>", func(w *Writer) { w.Element(Name{nsServer, "a"}, "") }},
		{"attributes", nsClient, "<a b='1' xml:lang='en' xmlns:ns0='u' ns0:c='2' xmlns:ns1='v' ns1:c='3' d=''/>", func(w *Writer) {
			w.Open(Name{"", "a"})
			w.Attr("b", "1")
			w.AttrOpt("x", "")
			w.AttrNS(Name{nsXML, "lang"}, "en")
			w.AttrNS(Name{"u", "c"}, "2")
			w.AttrNS(Name{"v", "c"}, "3")
			w.AttrNS(Name{"", "d"}, "")
			w.Close()
		}},
		{"escapes", nsClient, "<a b='&amp;&lt;&gt;&apos;&quot;&#9;&#10;&#13;é\uFFFD\uFFFD\uFFFD'>&amp;&lt;&gt;'\"\t\n&#13;é\uFFFD\uFFFD\uFFFD😀</a>", func(w *Writer) {
			w.Open(Name{"", "a"})
			w.Attr("b", "&<>'\"\t\n\ré\x00\xff\uFFFE")
			w.Text("&<>'\"\t\n\ré\x1b\xc0\uFFFF😀")
			w.Close()
		}},
		{"end of CDATA", nsClient, "<a>]]&gt;</a>", func(w *Writer) { w.Element(Name{"", "a"}, "]]>") }},
		{"stream namespace", nsClient, "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><x xmlns='u'/><y/></stream:error>", func(w *Writer) {
			w.Open(Name{nsStream, "error"})
			w.Element(Name{"u", "x"}, "")
			w.Element(Name{nsClient, "y"}, "")
			w.Close()
		}},
		{"namespace of xml", nsClient, "<xml:a/>", func(w *Writer) { w.Element(Name{nsXML, "a"}, "") }},
		{"raw and appended", nsClient, "<a><b/><c/></a>", func(w *Writer) {
			w.Open(Name{"", "a"})
			w.Raw(nil)
			w.Append(nil)
			w.Raw([]byte("<b/>"))
			w.Append(writes(func(w *Writer) { w.Element(Name{"", "c"}, "") }))
			w.Close()
		}},
	} {
		got := string(Marshal(c.f, c.content))
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.rule, got, c.want)
		}
	}
}

// TestWriterNames: no name breaks out of its tag.
func TestWriterNames(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "": "_", "1": "_1", "a b": "a_b", "a:b": "a_b", "a'/><b": "a____b", "\xff": "_", "é": "_", "a\u0301": "a_", "\U00010000": "_", "p\u00b7q": "p_q", "-": "_-",
	} {
		if got := string(Marshal(writes(func(w *Writer) { w.Element(Name{"", in}, "") }), "")); got != "<"+want+"/>" {
			t.Errorf("element %q is written %s, want <%s/>", in, got, want)
		}
	}
}

func TestWriterReset(t *testing.T) {
	w := NewWriter([]byte("before"), nsClient)
	w.Open(Name{"u", "a"})
	w.Reset([]byte("x"), "")
	w.Element(Name{"u", "b"}, "")
	if got := string(w.Bytes()); got != "x<b xmlns='u'/>" {
		t.Errorf("after Reset: %s", got)
	}
}

func TestWriterMisuse(t *testing.T) {
	for name, f := range map[string]func(w *Writer){
		"Close without Open":     func(w *Writer) { w.Close() },
		"Attr without Open":      func(w *Writer) { w.Attr("a", "") },
		"Attr behind content":    func(w *Writer) { w.Open(Name{"", "a"}); w.Text("b"); w.Attr("c", "") },
		"AttrNS behind an empty": func(w *Writer) { w.Element(Name{"", "a"}, ""); w.AttrNS(Name{"", "c"}, "") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			f(NewWriter(nil, ""))
		}()
	}
}

func TestBuild(t *testing.T) {
	e, err := Build(writes(func(w *Writer) {
		w.Open(Name{nsClient, "message"})
		w.Element(Name{nsClient, "body"}, "<b>")
		w.Close()
	}))
	if err != nil || dump(e) != `<{jabber:client}message><{jabber:client}body>"<b>"//` || !e.Clean() {
		t.Errorf("Build = %s, %v", dump(e), err)
	}
	if _, err := Build(writes(func(w *Writer) { w.Raw([]byte("<a>")) })); err == nil {
		t.Error("Build of half an element gives no error")
	}
}

// What is kept is written as what is parsed, or not at all.
func TestStored(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<message to=\"a\"><body>b &amp; c</body><x xmlns='u'/></message>", "<f xmlns='urn:f'><message xmlns='jabber:client' to=\"a\"><body>b &amp; c</body><x xmlns='u'/></message></f>"},
		{" <message/> ", "<f xmlns='urn:f'><message xmlns='jabber:client'/></f>"},
		{"<message><body><![CDATA[<]]></body></message>", "<f xmlns='urn:f'><message xmlns='jabber:client'><body>&lt;</body></message></f>"},
		{"<x xmlns='u'><y/></x>", "<f xmlns='urn:f'><x xmlns='u'><y/></x></f>"},
		{"<mess", "<f xmlns='urn:f'/>"},
		{"<message/><message/>", "<f xmlns='urn:f'/>"},
		{"</message>", "<f xmlns='urn:f'/>"},
		{"", "<f xmlns='urn:f'/>"},
	} {
		w := NewWriter(nil, nsClient)
		w.Open(Name{"urn:f", "f"})
		err := w.Stored(nsClient, []byte(c.in), Limits{})
		w.Close()
		if got := string(w.Bytes()); got != c.want || (err != nil) != strings.HasSuffix(c.want, "f'/>") {
			t.Errorf("%q (%v):\n got %s\nwant %s", c.in, err, got, c.want)
		}
	}
}

func TestAppendAttr(t *testing.T) {
	if got := string(AppendAttr([]byte("<a"), "to", "o'neill&co")); got != "<a to='o&apos;neill&amp;co'" {
		t.Errorf("AppendAttr = %s", got)
	}
}
