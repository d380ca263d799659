package xmltree

import (
	"slices"
	"strings"
	"testing"
)

func mustParseIn(t *testing.T, content, in string) Element {
	t.Helper()
	e, err := ParseIn(content, []byte(in), Limits{})
	if err != nil {
		t.Fatalf("ParseIn(%q, %q): %v", content, in, err)
	}
	return e
}

func TestAccepted(t *testing.T) {
	for _, c := range []struct{ rule, in, want string }{
		{"entities", "<a b='&lt;&gt;&amp;&apos;&quot;'>&lt;&gt;&amp;&apos;&quot;</a>", `<{}a {}b="<>&'\"">"<>&'\""/`},
		{"character references", "<a b='&#65;&#x42;'>&#x1F600;&#9;&#13;&#000000000000065;</a>", `<{}a {}b="AB">"😀\t\rA"/`},
		{"CDATA", "<a>x<![CDATA[<&>]] ]]>y<![CDATA[]]>]]&gt;</a>", `<{}a>"x<&>]] y]]>"/`},
		{"line ends in text", "<a>1\r\n2\r3\n4<![CDATA[\r\n]]></a>", `<{}a>"1\n2\n3\n4\n"/`},
		{"line ends in a value", "<a b='1\r\n2\r3\n4\t5&#10;'/>", `<{}a {}b="1 2 3 4 5\n">/`},
		{"white space in tags", "<a\n b\t=\r\n'c'\n></a\n>", `<{}a {}b="c">/`},
		{"both quotes", `<a b="'" c='"'/>`, `<{}a {}b="'" {}c="\"">/`},
		{"names", "<_a-.9 Z_.-0=''/>", `<{}_a-.9 {}Z_.-0="">/`},
		{"other characters beside names", "<a b='\u00e9\U00010000'>\u0301\u00b7</a>", "<{}a {}b=\"\u00e9\U00010000\">\"\u0301\u00b7\"/"},
		{"default namespace", "<a xmlns='u'><b/><c xmlns=''><d xmlns='v'/></c></a>", "<{u}a><{u}b>/<{}c><{v}d>///"},
		{"prefixes", "<p:a xmlns:p='u' p:b='1' b='2'><c xmlns:p='v' p:d='3'/></p:a>", `<{u}a {u}b="1" {}b="2"><{}c {v}d="3">//`},
		{"prefix before its declaration", "<p:a p:b='1' xmlns:p='u'/>", `<{u}a {u}b="1">/`},
		{"namespace with references", "<a xmlns='u&amp;v' xmlns:p='u&#38;v' p:b=''/>", `<{u&v}a {u&v}b="">/`},
		{"xml:lang", "<a xml:lang='en' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", `<{}a {http://www.w3.org/XML/1998/namespace}lang="en">/`},
		{"element of xml", "<xml:a/>", "<{http://www.w3.org/XML/1998/namespace}a>/"},
		{"same local name", "<a xmlns:p='u' xmlns:q='v' b='' p:b='' q:b=''/>", `<{}a {}b="" {u}b="" {v}b="">/`},
		{"right angle bracket", "<a b='>'>]>]]</a>", `<{}a {}b=">">"]>]]"/`},
		{"non-characters of other planes", "<a>\U0001FFFE\ufdd0\u0085\u007f</a>", `<{}a>"\U0001fffe\ufdd0\u0085\x7f"/`},
		{"mixed content", "<a>1<b/>2<c>3</c>4</a>", `<{}a>"1"<{}b>/"2"<{}c>"3"/"4"/`},
		{"white space around", "\n<a/>\r\n", "<{}a>/"},
		{"128 attributes", "<a" + manyAttrs(128) + "/>", ""},
		{"64 namespaces", "<a>" + manyNamespaces(64, "</b>") + manyNamespaces(64, "</b>") + "</a>", ""},
		{"64 prefixes", "<a" + manyPrefixes(64) + "/>", ""},
		{"one namespace many times", "<a>" + strings.Repeat("<b xmlns='u'/>", 1000) + "</a>", ""},
		{"prefix bound anew", "<p:a xmlns:p='u'><p:b xmlns:p='v'><p:c/></p:b><p:d/></p:a>", "<{u}a><{v}b><{v}c>//<{u}d>//"},
	} {
		e, err := Parse([]byte(c.in), Limits{})
		if err != nil {
			t.Errorf("%s: Parse(%q): %v", c.rule, c.in, err)
		} else if got := dump(e); got != c.want && c.want != "" {
			t.Errorf("%s: Parse(%q) = %s, want %s", c.rule, c.in, got, c.want)
		}
	}
}

func TestElement(t *testing.T) {
	const in = "<message to='a&amp;b' xmlns:p='u' p:to='c' xml:lang='en'>1<body>x</body>2<body xml:lang='de'>y<i/></body>" +
		"<q xmlns='v'><item/></q><body xml:lang=''/>&gt;</message>"
	e := mustParseIn(t, nsClient, in)
	body := Name{nsClient, "body"}
	if !e.Exists() || !e.Is(Name{nsClient, "message"}) || e.Is(Name{"", "message"}) || e.Is(body) {
		t.Errorf("Is of %q is wrong", in)
	}
	if got := e.Attr("to"); got != "a&b" {
		t.Errorf("Attr(to) = %q", got)
	}
	if got, ok := e.LookupAttr(Name{"u", "to"}); got != "c" || !ok {
		t.Errorf("LookupAttr(u to) = %q, %v", got, ok)
	}
	for _, absent := range []Name{{"", "xmlns"}, {"", "p"}, {nsXMLNS, "p"}, {"v", "to"}, {"", "lang"}} {
		if got, ok := e.LookupAttr(absent); ok {
			t.Errorf("LookupAttr(%v) = %q", absent, got)
		}
	}
	if got := e.Text(); got != "12>" {
		t.Errorf("Text = %q, want 12>", got)
	}
	if got := e.Child(body).Text(); got != "x" {
		t.Errorf("Text of the first body = %q, want x", got)
	}
	var names, langs []string
	for c := range e.Children() {
		names = append(names, c.Name().Local)
		langs = append(langs, c.Lang())
	}
	if want := []string{"body", "body", "q", "body"}; !slices.Equal(names, want) {
		t.Errorf("Children = %q, want %q", names, want)
	}
	if want := []string{"en", "de", "en", ""}; !slices.Equal(langs, want) {
		t.Errorf("Lang of the children = %q, want %q", langs, want)
	}
	for c := range e.Children() {
		if c.Lang() == "de" && c.First().Lang() != "de" {
			t.Errorf("Lang of i = %q, want de", c.First().Lang())
		}
	}
	if e.First().Name() != body || e.First().First().Exists() || e.Child(Name{"", "q"}).Exists() {
		t.Errorf("First or Child of %q is wrong", in)
	}
	if string(e.Raw()) != in || e.Len() != len(in) || string(e.First().Raw()) != "<body>x</body>" {
		t.Errorf("Raw = %q, %q", e.Raw(), e.First().Raw())
	}
}

func TestNoElement(t *testing.T) {
	var e Element
	w := NewWriter(nil, "")
	w.Open(Name{"", "a"})
	w.Append(e)
	w.Append(nil)
	w.Close()
	for range e.Children() {
		t.Error("no element has a child")
	}
	for range e.Attrs() {
		t.Error("no element has an attribute")
	}
	if e.Exists() || e.Is(Name{}) || e.Name() != (Name{}) || e.Attr("a") != "" || e.Text() != "" || e.Lang() != "" ||
		e.Child(Name{}).Exists() || e.First().Exists() || e.Len() != 0 || e.Raw() != nil || e.Clean() ||
		e.Clone().Exists() || string(w.Bytes()) != "<a/>" {
		t.Error("the zero Element is not nothing")
	}
}

// TestAliases: strings without references are parts of the element's bytes.
func TestAliases(t *testing.T) {
	e := mustParseIn(t, nsClient, "<message to='romeo'><body>hark</body><x xmlns='urn:x'/></message>")
	if n := testing.AllocsPerRun(10, func() {
		_, _ = e.Attr("to"), e.Name()
		_ = e.First().Text()
		_ = e.Child(Name{"urn:x", "x"}).Name().Space
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestClean(t *testing.T) {
	const prefixed = "<stream:stream xmlns='jabber:%s' xmlns:stream='" + nsStream + "' xmlns:h='urn:h' xmlns:c='urn:c'>"
	for _, c := range []struct {
		content, in string
		want        bool
	}{
		{"client", "<message to='a'><body>b &amp; c&#10;</body></message>", true},
		{"server", "<message to='a'><body>b</body></message>", true},
		{"client", "<iq><query xmlns='u'><item p:a='' xmlns:p='v'/></query></iq>", true},
		{"client", "<iq xml:lang='en'/>", true},
		{"client", `<iq to="a"/>`, true},
		{"client", "<p:iq xmlns:p='u'/>", true},
		{"client", "<f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body/></message></f>", true},
		{"client", "<message><body><![CDATA[b]]></body></message>", false},
		{"client", "<message><body>b\r\nc</body></message>", false},
		{"client", "<message><body>b\nc</body></message>", true},
		{"client", "<message to='a\nb'/>", false},
		{"client", "<message to='a\tb'/>", false},
		{"client", "<message><h:x/></message>", false},
		{"client", "<message><x h:y=''/></message>", false},
		{"client", "<message><h:x xmlns:h='urn:h'/></message>", true},
		{"client", "<stream:features/>", false},
		{"client", "<message xmlns='jabber:client'/>", false},                       // re-scoping must reach it
		{"client", "<message><body xmlns='jabber:client'/></message>", false},       // here too
		{"server", "<message xmlns='jabber:server'/>", false},                       // not the name that we report
		{"server", "<m xmlns='u'><message xmlns='jabber:server'/></m>", false},      // nor here
		{"server", "<m xmlns='u'><message xmlns='jabber:client'/></m>", true},       // as XEP-0297 wants it
		{"client", "<m xmlns='u'><message xmlns='jabber:server'/></m>", true},       // says what it says
		{"client", "<p:m xmlns:p='u'><message/></p:m>", false},                      // default from outside
		{"client", "<p:m xmlns:p='u' xmlns='v'><message/></p:m>", true},             // from inside
		{"client", "<message xmlns=''/>", true},                                     //
		{"client", "<f xmlns='u'><p:x xmlns:p='v'/><y xmlns=''><z/></y></f>", true}, //
	} {
		d := NewDecoder(Limits{})
		d.Feed([]byte(strings.Replace(prefixed, "%s", c.content, 1) + c.in))
		e, err := d.Next()
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
		} else if got := e.Clean(); got != c.want {
			t.Errorf("Clean of %s in jabber:%s = %v, want %v", c.in, c.content, got, c.want)
		}
	}
}

// TestAppendXML writes elements, and their first children, into other places.
func TestAppendXML(t *testing.T) {
	const open = "<stream:stream xmlns='jabber:%s' xmlns:stream='" + nsStream + "' xmlns:h='urn:h' xmlns:g='urn:g'>"
	for _, c := range []struct{ content, in, whole, child, alone string }{
		{"client", "<message><body>b</body></message>", // as it came
			"<message><body>b</body></message>", "<body>b</body>", "<body xmlns='jabber:client'>b</body>"},
		{"client", "<iq><query xmlns='u'><item/></query></iq>",
			"<iq><query xmlns='u'><item/></query></iq>", "<query xmlns='u'><item/></query>", "<query xmlns='u'><item/></query>"},
		{"client", "<query xmlns='u'><item><a/></item></query>", // the child needs its namespace
			"<query xmlns='u'><item><a/></item></query>", "<item xmlns='u'><a/></item>", "<item xmlns='u'><a/></item>"},
		{"client", "<q xmlns:p='u'><p:i p:a='1'><p:b xmlns:p='v'/></p:i></q>", // and its prefix
			"<q xmlns:p='u'><p:i p:a='1'><p:b xmlns:p='v'/></p:i></q>",
			"<p:i xmlns:p='u' p:a='1'><p:b xmlns:p='v'/></p:i>", "<p:i xmlns:p='u' p:a='1'><p:b xmlns:p='v'/></p:i>"},
		{"client", "<message><h:x g:y=''/></message>", // prefixes of the stream
			"<message xmlns:h='urn:h' xmlns:g='urn:g'><h:x g:y=''/></message>",
			"<h:x xmlns:h='urn:h' xmlns:g='urn:g' g:y=''/>", "<h:x xmlns:h='urn:h' xmlns:g='urn:g' g:y=''/>"},
		{"server", "<message xmlns='jabber:server'><body xmlns='jabber:server'/></message>",
			"<message><body/></message>", "<body/>", "<body xmlns='jabber:client'/>"},
		{"server", "<f xmlns='u'><message xmlns='jabber:server'/></f>",
			"<f xmlns='u'><message xmlns='jabber:client'/></f>", "<message/>", "<message xmlns='jabber:client'/>"},
		{"client", "<f xmlns='u'><message xmlns='jabber:client'>b</message></f>",
			"<f xmlns='u'><message xmlns='jabber:client'>b</message></f>", "<message>b</message>", "<message xmlns='jabber:client'>b</message>"},
		{"client", "<a><b c=\"it's\" d='&amp;\n&#10;'>1<![CDATA[<>]]>2\r\n<i/>]]<![CDATA[>]]></b></a>",
			"<a><b c='it&apos;s' d='&amp; &#10;'>1&lt;&gt;2\n<i/>]]&gt;</b></a>",
			"<b c='it&apos;s' d='&amp; &#10;'>1&lt;&gt;2\n<i/>]]&gt;</b>",
			"<b xmlns='jabber:client' c='it&apos;s' d='&amp; &#10;'>1&lt;&gt;2\n<i/>]]&gt;</b>"},
		{"client", "<stream:features><a xmlns='u'/></stream:features>",
			"<stream:features xmlns:stream='" + nsStream + "'><a xmlns='u'/></stream:features>", "<a xmlns='u'/>", "<a xmlns='u'/>"},
		{"client", "<a xmlns=''><b/></a>", "<a xmlns=''><b/></a>", "<b xmlns=''/>", "<b/>"},
		{"client", "<p:a xmlns:p='u'><p:b><c/></p:b></p:a>", // a default namespace that only the inner one needs
			"<p:a xmlns:p='u'><p:b><c/></p:b></p:a>", "<p:b xmlns:p='u'><c/></p:b>", "<p:b xmlns:p='u' xmlns='jabber:client'><c/></p:b>"},
	} {
		d := NewDecoder(Limits{})
		d.Feed([]byte(strings.Replace(open, "%s", c.content, 1) + c.in))
		e, err := d.Next()
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		for _, w := range []struct {
			e             Element
			content, want string
		}{{e, nsClient, c.whole}, {e.First(), nsClient, c.child}, {e.First(), "", c.alone}} {
			if got := string(Marshal(w.e, w.content)); got != w.want {
				t.Errorf("%s in %q:\n got %s\nwant %s", w.e.Raw(), w.content, got, w.want)
			}
		}
	}
}

func TestClone(t *testing.T) {
	const in = "<a xmlns:p='u' xmlns='w' xml:lang='en'><b/><c p:d='&gt;' xmlns:q='v' q:d=''>x<e xml:lang='de'/><p:f/></c></a>"
	e := mustParseIn(t, nsClient, in)
	c := e.Child(Name{"w", "c"})
	for _, orig := range []Element{e, c, c.First(), e.First()} {
		clone := orig.Clone()
		if dump(clone) != dump(orig) || string(clone.Raw()) != string(orig.Raw()) || clone.Lang() != orig.Lang() {
			t.Errorf("Clone of %s = %s %q", dump(orig), dump(clone), clone.Lang())
		}
		if got, want := string(Marshal(clone, "")), string(Marshal(orig, "")); got != want {
			t.Errorf("Clone of %s writes %s, want %s", orig.Raw(), got, want)
		}
		if again := clone.First().Clone(); again.Lang() != clone.First().Lang() {
			t.Errorf("Lang of a clone of a clone = %q, want %q", again.Lang(), clone.First().Lang())
		}
	}
}
