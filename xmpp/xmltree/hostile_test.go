package xmltree

import (
	"errors"
	"strings"
	"testing"
)

// hostile is XML that must be refused, named after the class of the attack.
var hostile = []struct {
	class, in string
	want      Kind
}{
	{"doctype", "<!DOCTYPE a><a/>", RestrictedXML},
	{"billion laughs (CVE-2011-1753)", `<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><a>&b;</a>`, RestrictedXML},
	{"doctype inside a stanza", "<a><!DOCTYPE b></a>", RestrictedXML},
	{"external entity", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, RestrictedXML},
	{"external subset", `<!DOCTYPE a SYSTEM "http://evil.example/a.dtd"><a/>`, RestrictedXML},
	{"parameter entity", `<!DOCTYPE a [<!ENTITY % p SYSTEM "x">%p;]><a/>`, RestrictedXML},
	{"entity declaration", `<a><!ENTITY x "y"></a>`, RestrictedXML},
	{"element declaration", "<a><!ELEMENT a ANY></a>", RestrictedXML},
	{"undeclared entity", "<a>&laugh;</a>", RestrictedXML},
	{"undeclared entity in a value", "<a b='&laugh;'/>", RestrictedXML},
	{"entity of HTML", "<a>&nbsp;</a>", RestrictedXML},
	{"comment", "<a><!-- b --></a>", RestrictedXML},
	{"comment between stanzas", "<!-- b --><a/>", RestrictedXML},
	{"processing instruction", "<a><?php evil ?></a>", RestrictedXML},
	{"processing instruction between stanzas", "<?b?><a/>", RestrictedXML},
	{"second XML declaration", "<?xml version='1.0'?><a/>", RestrictedXML},
	{"lower case doctype", "<!doctype a><a/>", RestrictedXML},
	{"conditional section", "<a><![INCLUDE[b]]></a>", RestrictedXML},
	{"lower case cdata", "<a><![cdata[b]]></a>", RestrictedXML},

	{"bare ampersand", "<a>fish & chips</a>", NotWellFormed},
	{"reference without end", "<a>&amp</a>", NotWellFormed},
	{"empty reference", "<a>&;</a>", NotWellFormed},
	{"reference to nul", "<a>&#0;</a>", NotWellFormed},
	{"reference to a control character", "<a>&#x1b;</a>", NotWellFormed},
	{"reference to a surrogate", "<a>&#xD800;</a>", NotWellFormed},
	{"reference to U+FFFE", "<a>&#xFFFE;</a>", NotWellFormed},
	{"reference beyond Unicode", "<a>&#x110000;</a>", NotWellFormed},
	{"reference that overflows", "<a>&#x100000041;</a>", NotWellFormed},
	{"reference with upper case X", "<a>&#X41;</a>", NotWellFormed},
	{"reference without digits", "<a>&#x;</a>", NotWellFormed},
	{"reference with sign", "<a>&#-65;</a>", NotWellFormed},
	{"endless reference", "<a>&#" + strings.Repeat("0", 100) + "65;</a>", NotWellFormed},

	{"nul", "<a>\x00</a>", NotWellFormed},
	{"nul between stanzas", "\x00<a/>", BadFormat},
	{"control character", "<a>\x1b</a>", NotWellFormed},
	{"control character in a value", "<a b='\x01'/>", NotWellFormed},
	{"control character in CDATA", "<a><![CDATA[\x08]]></a>", NotWellFormed},
	{"overlong UTF-8", "<a>\xc0\xbc</a>", NotWellFormed},
	{"overlong UTF-8, three bytes", "<a>\xe0\x80\xbc</a>", NotWellFormed},
	{"overlong UTF-8 in a name", "<\xc1\xa1/>", NotWellFormed},
	{"surrogate in UTF-8 (CVE-2022-22784)", "<a>\xed\xa0\x80</a>", NotWellFormed},
	{"pair of surrogates (CESU-8)", "<a>\xed\xa0\xbd\xed\xb8\x80</a>", NotWellFormed},
	{"UTF-8 cut short", "<a>\xe2\x82</a>", NotWellFormed},
	{"UTF-8 cut short before the tag's end (CVE-2022-22784)", "<a b='\xe2\x82'/>", NotWellFormed},
	{"stray continuation byte", "<a>\x80</a>", NotWellFormed},
	{"UTF-8 beyond Unicode", "<a>\xf4\x90\x80\x80</a>", NotWellFormed},
	{"UTF-8 of five bytes", "<a>\xf8\x88\x80\x80\x80</a>", NotWellFormed},
	{"U+FFFE", "<a>\uFFFE</a>", NotWellFormed},
	{"U+FFFF in a value", "<a b='\uFFFF'/>", NotWellFormed},
	{"Latin-1", "<a>caf\xe9</a>", NotWellFormed},

	{"duplicate attribute", "<a b='1' b='2'/>", NotWellFormed},
	{"duplicate attribute by another quote", "<a b='1' c='' b=\"1\"/>", NotWellFormed},
	{"duplicate attribute by namespace", "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", NotWellFormed},
	{"duplicate attribute by escaped namespace", "<a xmlns:p='uv' xmlns:q='u&#118;' p:b='1' q:b='2'/>", NotWellFormed},
	{"duplicate attribute by namespace, declared on two elements", "<a xmlns:p='u'><b xmlns:q='u' p:c='1' q:c='2'/></a>", NotWellFormed},
	{"duplicate declaration", "<a xmlns='u' xmlns='v'/>", NotWellFormed},
	{"duplicate declaration of a prefix", "<a xmlns:p='u' xmlns:p='u'/>", NotWellFormed},
	{"duplicate attribute among many", "<a" + manyAttrs(100) + " a7=''/>", NotWellFormed},
	{"duplicate of an attribute with xml:", "<a xml:lang='en' xml:lang='de'/>", NotWellFormed},

	{"undeclared prefix", "<p:a/>", NotWellFormed},
	{"undeclared prefix of an attribute", "<a p:b=''/>", NotWellFormed},
	{"prefix out of scope", "<a><b xmlns:p='u'/><p:c/></a>", NotWellFormed},
	{"prefix of a sibling's child", "<a><b><c xmlns:p='u'/></b><c p:d=''/></a>", NotWellFormed},
	{"rebinding xml", "<a xmlns:xml='u'/>", NotWellFormed},
	{"rebinding xmlns", "<a xmlns:xmlns='u'/>", NotWellFormed},
	{"binding xmlns to its namespace", "<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", NotWellFormed},
	{"prefix for the namespace of xml", "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed},
	{"prefix for the namespace of xmlns", "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", NotWellFormed},
	{"namespace of xml as default", "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed},
	{"namespace of xmlns as default", "<a xmlns='http://www.w3.org/2000/xmlns/'/>", NotWellFormed},
	{"undeclaring a prefix", "<a xmlns:p='u'><b xmlns:p=''/></a>", NotWellFormed},
	{"element with prefix xmlns", "<xmlns:a/>", NotWellFormed},
	{"prefix on the content namespace", "<c:a xmlns:c='jabber:client'/>", BadNamespacePrefix},
	{"prefix on the content namespace, hidden by references", "<c:a xmlns:c='jabber:clien&#116;'/>", BadNamespacePrefix},
	{"stream namespace inside a stanza", "<a><features xmlns='http://etherx.jabber.org/streams'/></a>", InvalidNamespace},
	{"stream element inside a stanza (CVE-2022-22786)", "<a><s:stream xmlns:s='http://etherx.jabber.org/streams'/></a>", InvalidNamespace},

	{"two colons in a name", "<a:b:c/>", NotWellFormed},
	{"empty prefix", "<:a/>", NotWellFormed},
	{"empty local name", "<a xmlns:p='u'><p:/></a>", NotWellFormed},
	{"local name beginning with a digit", "<a xmlns:p='u'><p:1/></a>", NotWellFormed},
	{"name beginning with a digit", "<1/>", NotWellFormed},
	{"name beginning with a hyphen", "<-a/>", NotWellFormed},
	{"smuggling between two parsers: name of the 5th edition only", "<\U00010000/>", NotWellFormed},
	{"smuggling between two parsers: name of the 5th edition only, in the BMP", "<\u037f/>", NotWellFormed},
	{"smuggling between two parsers: name of all editions", "<\u00e9t\u00e9/>", NotWellFormed},
	{"smuggling between two parsers: name that goes on outside ASCII", "<a\u00b7/>", NotWellFormed},
	{"smuggling between two parsers: attribute", "<a \u4e2d=''/>", NotWellFormed},
	{"smuggling between two parsers: attribute that goes on outside ASCII", "<a b\u0301=''/>", NotWellFormed},
	{"smuggling between two parsers: prefix", "<a xmlns:\U00010000='u'/>", NotWellFormed},
	{"smuggling between two parsers: local name", "<a xmlns:p='u' p:\u2c00=''/>", NotWellFormed},
	{"smuggling between two parsers: inside a stanza", "<a><b xmlns='u'><c\u200d/></b></a>", NotWellFormed},
	{"name with a multiplication sign", "<a\u00d7/>", NotWellFormed},
	{"name beginning with a combining mark", "<\u0301a/>", NotWellFormed},
	{"name with a private character", "<a\ue000/>", NotWellFormed},
	{"space before a name", "< a/>", NotWellFormed},
	{"empty tag", "<></a>", NotWellFormed},
	{"left angle bracket in a value", "<a b='<'/>", NotWellFormed},
	{"value without quotes", "<a b=c/>", NotWellFormed},
	{"attribute without value", "<a b/>", NotWellFormed},
	{"attributes without white space", "<a b='' c=''d=''/>", NotWellFormed},
	{"value that is not closed", "<a b='c></a>", NotWellFormed},
	{"slash in a tag", "<a / >", NotWellFormed},
	{"attributes in an end tag", "<a></a b=''>", NotWellFormed},
	{"end tag of another element", "<a><b></a></b>", NotWellFormed},
	{"end tag with another case", "<a></A>", NotWellFormed},
	{"end tag with a longer name", "<a></ab>", NotWellFormed},
	{"end tag by another prefix", "<a xmlns:p='u' xmlns:q='u'><p:b></q:b></a>", NotWellFormed},
	{"end of CDATA in text", "<a>b]]>c</a>", NotWellFormed},
	{"CDATA between stanzas", "<![CDATA[a]]>", BadFormat},
	{"text between stanzas", "hello<a/>", BadFormat},

	{"endless name", "<" + strings.Repeat("a", 2000) + "/>", PolicyViolation},
	{"endless attribute name", "<a " + strings.Repeat("b", 2000) + "=''/>", PolicyViolation},
	{"endless namespace name", "<a xmlns='" + strings.Repeat("u", 300) + "'/>", PolicyViolation},
	{"attribute flood", "<a" + manyAttrs(200) + "/>", PolicyViolation},
	{"element flood (CVE-2026-43507)", "<a>" + strings.Repeat("<b/>", 5000) + "</a>", PolicyViolation},
	{"deep nesting (CVE-2026-43507)", strings.Repeat("<a>", 65) + strings.Repeat("</a>", 65), PolicyViolation},
	{"namespace flood", "<a>" + manyNamespaces(65, "</b>") + "</a>", PolicyViolation},
	{"prefix flood", "<a" + manyPrefixes(65) + "/>", PolicyViolation},
	{"oversize", "<a>" + strings.Repeat("b", 256<<10) + "</a>", PolicyViolation},
	{"white space in a tag", "<a " + strings.Repeat(" ", 256<<10) + "/>", PolicyViolation},
	{"oversize value", "<a b='" + strings.Repeat("b", 256<<10) + "'/>", PolicyViolation},
}

func manyAttrs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a" + string(rune('0'+i%10)) + strings.Repeat("x", i/10) + "=''")
	}
	return b.String()
}

// manyNamespaces declares n different ones, with end behind each.
func manyNamespaces(n int, end string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("<b xmlns='u" + strings.Repeat("v", i) + "'>" + end)
	}
	return b.String()
}

// manyPrefixes declares n prefixes for one namespace.
func manyPrefixes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" xmlns:p" + strings.Repeat("q", i) + "='u'")
	}
	return b.String()
}

func TestHostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.class, func(t *testing.T) {
			t.Parallel()
			d := started(t, Limits{})
			d.Feed([]byte(c.in))
			var err error
			for err == nil {
				_, err = d.Next()
			}
			wantKind(t, "stream", c.in, err, c.want)
			if _, again := d.Next(); again != err {
				t.Errorf("Next after %v: %v, want the same error", err, again)
			}

			_, err = Parse([]byte(c.in), Limits{})
			want := c.want
			if want == BadFormat {
				want = NotWellFormed // there is no stream
				if strings.HasPrefix(c.in, "<") {
					want = BadFormat
				}
			}
			wantKind(t, "document", c.in, err, want)
		})
	}
}

func wantKind(t *testing.T, where, in string, err error, want Kind) {
	t.Helper()
	var e *SyntaxError
	if !errors.As(err, &e) || e.Kind != want {
		t.Errorf("%s %.80q: %v, want %s", where, in, err, want)
	} else if !strings.Contains(e.Error(), string(want)) {
		t.Errorf("%q does not name its kind", e.Error())
	}
}

// TestHostileDocument is about what only a document of its own can get wrong.
func TestHostileDocument(t *testing.T) {
	for class, in := range map[string]string{
		"empty":                    "",
		"white space":              " \n",
		"two roots":                "<a/><b/>",
		"text behind the root":     "<a/>b",
		"text before the root":     "b<a/>",
		"end tag only":             "</a>",
		"end tag behind":           "<a/></a>",
		"cut short":                "<a><b/>",
		"cut short in a tag":       "<a b='",
		"byte order mark":          "\ufeff<a/>",
		"end of a stream":          "<a/></stream:stream>",
		"cut short in UTF-8":       "<a>\xe2\x82",
		"cut short in a CDATA":     "<a><![CDATA[",
		"cut short in a reference": "<a>&am",
	} {
		_, err := Parse([]byte(in), Limits{})
		t.Run(class, func(t *testing.T) { wantKind(t, "document", in, err, NotWellFormed) })
	}
}

func TestHostileHeader(t *testing.T) {
	const open = "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'"
	for _, c := range []struct {
		class, in string
		want      Kind
	}{
		{"encoding", "<?xml version='1.0' encoding='ISO-8859-1'?>", BadEncoding},
		{"encoding UTF-16", "<?xml version='1.0' encoding=\"utf-16\" ?>", BadEncoding},
		{"encoding UTF-7 (script smuggling)", "<?xml version='1.0' encoding='UTF-7'?>", BadEncoding},
		{"byte order mark of UTF-16", "\xff\xfe<\x00", BadEncoding},
		{"byte order mark of UTF-16, big endian", "\xfe\xff\x00<", BadEncoding},
		{"byte order mark", "\ufeff<?xml version='1.0'?>", NotWellFormed}, // RFC 6120 §11.6
		{"version", "<?xml version='1.1'?>", NotWellFormed},
		{"no version", "<?xml encoding='UTF-8'?>", NotWellFormed},
		{"declaration in the wrong order", "<?xml encoding='UTF-8' version='1.0'?>", NotWellFormed},
		{"declaration with more", "<?xml version='1.0' foo='bar'?>", NotWellFormed},
		{"standalone", "<?xml version='1.0' standalone='maybe'?>", NotWellFormed},
		{"declaration without quotes", "<?xml version=1.0?>", NotWellFormed},
		{"declaration without spaces", "<?xml version='1.0'encoding='UTF-8'?>", NotWellFormed},
		{"endless declaration", "<?xml version='1.0'" + strings.Repeat(" ", 1000), PolicyViolation},
		{"processing instruction", "<?xml-stylesheet href='x'?>", RestrictedXML},
		{"processing instruction behind the declaration", "<?xml version='1.0'?><?foo?>", RestrictedXML},
		{"two declarations", "<?xml version='1.0'?><?xml version='1.0'?>", RestrictedXML},
		{"declaration behind white space", " <?xml version='1.0'?>", RestrictedXML},
		{"doctype", "<?xml version='1.0'?><!DOCTYPE stream>", RestrictedXML},
		{"comment", "<!--", RestrictedXML},
		{"text", "GET / HTTP/1.1\r\n", NotWellFormed},
		{"TLS record", "\x16\x03\x01", NotWellFormed},
		{"white space without end", strings.Repeat(" ", 300<<10), PolicyViolation},
		{"header without end", open + strings.Repeat(" ", 300<<10), PolicyViolation},
		{"attribute without end", open + " to='" + strings.Repeat("a", 300<<10), PolicyViolation},
		{"white space, then a header", strings.Repeat(" ", 256<<10-10) + open + ">", PolicyViolation},
		{"declarations that make every stanza longer", open + strings.Repeat(" ", 1) +
			"xmlns:a='" + strings.Repeat("a", 250) + "' xmlns:b='" + strings.Repeat("b", 250) + "' xmlns:c='" + strings.Repeat("c", 250) +
			"' xmlns:d='" + strings.Repeat("d", 250) + "'>", PolicyViolation},
		{"end tag first", "</stream:stream>", NotWellFormed},
		{"undeclared prefix", "<stream:stream>", NotWellFormed},
		{"duplicate attribute", open + " to='a' to='b'>", NotWellFormed},
		{"rebinding xml", open + " xmlns:xml='u'>", NotWellFormed},
	} {
		t.Run(c.class, func(t *testing.T) {
			d := NewDecoder(Limits{})
			d.Feed([]byte(c.in))
			_, err := d.Header()
			wantKind(t, "header", c.in, err, c.want)
			if _, again := d.Next(); again != err {
				t.Errorf("Next after %v: %v, want the same error", err, again)
			}
		})
	}
}
