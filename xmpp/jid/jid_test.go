package jid_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
	"unsafe"

	"kith/xmpp/jid"
)

// parts is what an address is made of.
type parts struct{ local, domain, resource string }

// label63 is the longest label of a domain name.
var label63 = strings.Repeat("d", 63)

var valid = []struct {
	name, in string
	want     parts
}{
	// RFC 7622 §3.5, table 1.
	{"example 1", "juliet@example.com", parts{"juliet", "example.com", ""}},
	{"example 2", "juliet@example.com/foo", parts{"juliet", "example.com", "foo"}},
	{"example 3", "juliet@example.com/foo bar", parts{"juliet", "example.com", "foo bar"}},
	{"example 4", "juliet@example.com/foo@bar", parts{"juliet", "example.com", "foo@bar"}},
	{"example 5", `foo\20bar@example.com`, parts{`foo\20bar`, "example.com", ""}},
	{"example 6", "fussball@example.com", parts{"fussball", "example.com", ""}},
	{"example 7", "fu\u00dfball@example.com", parts{"fu\u00dfball", "example.com", ""}},
	{"example 8", "\u03c0@example.com", parts{"\u03c0", "example.com", ""}},
	{"example 9", "\u03a3@example.com/foo", parts{"\u03c3", "example.com", "foo"}},
	{"example 10", "\u03c3@example.com/foo", parts{"\u03c3", "example.com", "foo"}},
	{"example 11", "\u03c2@example.com/foo", parts{"\u03c2", "example.com", "foo"}},
	{"example 12", "king@example.com/\u265a", parts{"king", "example.com", "\u265a"}},
	{"example 13", "example.com", parts{"", "example.com", ""}},
	{"example 14", "example.com/foobar", parts{"", "example.com", "foobar"}},
	{"example 15", "a.example.com/b@example.net", parts{"", "a.example.com", "b@example.net"}},

	{"case of local and domain", "Juliet@EXAMPLE.Com/Balcony", parts{"juliet", "example.com", "Balcony"}},
	{"slashes in resource", "a@b/c/d//e", parts{"a", "b", "c/d//e"}},
	{"every ASCII character of a localpart", "!#$%()*+,-.0123456789;=?[\\]^_`abcxyz{|}~@b", parts{"!#$%()*+,-.0123456789;=?[\\]^_`abcxyz{|}~", "b", ""}},
	{"excluded characters in resource", `a@b/"&':<>@`, parts{"a", "b", `"&':<>@`}},
	{"trailing space in resource", "a@b/c ", parts{"a", "b", "c "}},
	{"final dot", "a@example.com./r", parts{"a", "example.com", "r"}},
	{"final ideographic dot", "a@b\u00fccher.example\u3002", parts{"a", "b\u00fccher.example", ""}},
	{"hostname", "localhost", parts{"", "localhost", ""}},
	{"hyphens inside", "a-b-c.def---g.example", parts{"", "a-b-c.def---g.example", ""}},
	{"IPv4", "a@192.0.2.1/r", parts{"a", "192.0.2.1", "r"}},
	{"IPv6", "a@[2001:db8::1]/r", parts{"a", "[2001:db8::1]", "r"}},
	{"IPv6, not canonical", "[2001:DB8:0:0:0::0001]", parts{"", "[2001:db8::1]", ""}},
	{"IPv6 with IPv4", "[::FFFF:192.0.2.1]", parts{"", "[::ffff:192.0.2.1]", ""}},
	{"A-label", "a@xn--bcher-kva.example", parts{"a", "b\u00fccher.example", ""}},
	{"A-label, upper case", "a@XN--BCHER-KVA.example", parts{"a", "b\u00fccher.example", ""}},
	{"U-label", "a@b\u00fccher.example", parts{"a", "b\u00fccher.example", ""}},
	{"U-label, decomposed and upper case", "a@BU\u0308CHER.example", parts{"a", "b\u00fccher.example", ""}},
	{"sharp s is kept", "stra\u00dfe.example", parts{"", "stra\u00dfe.example", ""}},
	{"sharp s of an A-label", "xn--strae-oqa.example", parts{"", "stra\u00dfe.example", ""}},
	{"fullwidth domain", "\uff45\uff58\uff0e\uff43\uff4f\uff4d", parts{"", "ex.com", ""}},
	{"fullwidth localpart", "\uff2a\uff35\uff2c@b", parts{"jul", "b", ""}},
	{"right to left", "\u05d0\u05d1@\u05d0\u05d1.example/\u05d0", parts{"\u05d0\u05d1", "\u05d0\u05d1.example", "\u05d0"}},
	{"decomposed", "cafe\u0301@b/cafe\u0301", parts{"caf\u00e9", "b", "caf\u00e9"}},
	{"spaces are mapped in a resource", "a@b/c\u00a0\u3000d", parts{"a", "b", "c  d"}},
	{"case of a resource is kept", "a@b/\u00c4", parts{"a", "b", "\u00c4"}},
	{"no code point is too high", "\U00020000@b/\U0001f600", parts{"\U00020000", "b", "\U0001f600"}},

	{"localpart of 1023 bytes", strings.Repeat("l", 1023) + "@b", parts{strings.Repeat("l", 1023), "b", ""}},
	{"resource of 1023 bytes", "b/" + strings.Repeat("R", 1023), parts{"", "b", strings.Repeat("R", 1023)}},
	{"longer than 1023 bytes until mapped", strings.Repeat("\uff41", 1023) + "@b", parts{strings.Repeat("a", 1023), "b", ""}},
	{"label of 63 bytes", "a@" + label63 + ".example", parts{"a", label63 + ".example", ""}},
}

func TestValid(t *testing.T) {
	t.Parallel()
	for _, test := range valid {
		t.Run(test.name, func(t *testing.T) {
			j, err := jid.Parse(test.in)
			if err != nil {
				t.Fatalf("Parse(%q): %v", test.in, err)
			}
			if got := (parts{j.Local(), j.Domain(), j.Resource()}); got != test.want {
				t.Errorf("Parse(%q) = %q, want %q", test.in, got, test.want)
			}
			check(t, j)
		})
	}
}

var invalid = []struct{ name, in, part string }{
	// RFC 7622 §3.5, table 2.
	{"example 16", `"juliet"@example.com`, "localpart"},
	{"example 17", "foo bar@example.com", "localpart"},
	{"example 18", "juliet@example.com/ foo", "resourcepart"},
	{"example 19", "@example.com/", "localpart"},
	{"example 20", "henry\u2163@example.com", "localpart"},
	{"example 21", "\u265a@example.com", "localpart"},
	{"example 22", "juliet@", "domainpart"},
	{"example 23", "/foobar", "domainpart"},

	{"nothing", "", "domainpart"},
	{"at", "@", "localpart"},
	{"slash", "/", "domainpart"},
	{"empty resource", "a@b/", "resourcepart"},
	{"empty resource of a domain", "b/", "resourcepart"},
	{"two ats", "a@b@c", "domainpart"},
	{"space before", " a@b", "localpart"},
	{"space after", "a@b ", "domainpart"},
	{"NUL", "a\x00@b", "localpart"},
	{"NUL in domain", "a@b\x00", "domainpart"},
	{"NUL in resource", "a@b/\x00", "resourcepart"},
	{"DEL in resource", "a@b/\x7f", "resourcepart"},
	{"line end in resource", "a@b/c\n", "resourcepart"},
	{"not UTF-8", "\xff@b", "localpart"},
	{"not UTF-8 in domain", "a@\xc0\xaf", "domainpart"},
	{"not UTF-8 in resource", "a@b/\xed\xa0\x80", "resourcepart"},
	{"noncharacter in resource", "a@b/\uffff", "resourcepart"},
	{"no-break space first in resource", "a@b/\u00a0c", "resourcepart"},
	{"quotation mark", `a"@b`, "localpart"},
	{"ampersand", "a&@b", "localpart"},
	{"apostrophe", "a'@b", "localpart"},
	{"colon", "xmpp:a@b", "localpart"},
	{"less-than", "<a@b", "localpart"},
	{"greater-than", "a>@b", "localpart"},
	{"fullwidth excluded character", "a\uff20\u00e9@b", "localpart"},
	{"fullwidth solidus", "\uff0f\u00e9@b", "localpart"},
	{"combining character in front of ASCII only", "\u0301\u05d0@b", "localpart"},
	{"mixed direction", "a\u05d0@b", "localpart"},
	{"zero-width joiner out of context", "a\u200d@b", "localpart"},
	{"soft hyphen", "a\u00ad@b", "localpart"},
	{"unassigned", "\u0378@b", "localpart"},

	{"only a dot", "a@.", "domainpart"},
	{"two final dots", "a@b..", "domainpart"},
	{"leading dot", "a@.b", "domainpart"},
	{"empty label", "a@b..c", "domainpart"},
	{"underscore", "a@b_c", "domainpart"},
	{"port", "a@b:5222", "domainpart"},
	{"hyphen first", "a@-b", "domainpart"},
	{"hyphen last", "a@b-.c", "domainpart"},
	{"reserved label", "a@ab--cd", "domainpart"},
	{"reserved U-label", "a@\u00e9b--c", "domainpart"},
	{"A-label of nothing", "a@xn--", "domainpart"},
	{"A-label of ASCII", "a@xn--example-.com", "domainpart"},
	{"A-label that is not punycode", "a@xn--0000h", "domainpart"},
	{"A-label of an upper-case U-label", "a@xn--bcher-4pa.example", "domainpart"},
	{"symbol", "a@\u2603.example", "domainpart"},
	{"A-label of a symbol", "a@xn--n3h.example", "domainpart"},
	{"fullwidth at", "a@b\uff20c", "domainpart"},
	{"fullwidth solidus in domain", "a@b\uff0fc", "domainpart"},
	{"mixed direction in domain", "a@a\u05d0.example", "domainpart"},
	{"middle dot out of context", "a@a\u00b7b.example", "domainpart"},
	{"combining mark first", "a@\u0301a.example", "domainpart"},
	{"invisible character only", "a@\u00ad", "domainpart"},
	{"invisible label", "a@\u00ad.example", "domainpart"},
	{"two final dots, one ideographic", "a@b.\u3002", "domainpart"},
	{"IPv4 with leading zero", "a@192.0.2.01", "domainpart"},
	{"IPv4 out of range", "a@192.0.2.256", "domainpart"},
	{"numbers are no name", "a@1.2.3", "domainpart"},
	{"IPv6 without brackets", "a@2001:db8::1", "domainpart"},
	{"IPv6 not closed", "a@[2001:db8::1", "domainpart"},
	{"IPv6 with zone", "a@[fe80::1%eth0]", "domainpart"},
	{"IPv6 and more", "a@[::1]b", "domainpart"},
	{"IPv4 in brackets", "a@[192.0.2.1]", "domainpart"},
	{"empty brackets", "a@[]", "domainpart"},

	{"localpart of 1024 bytes", strings.Repeat("l", 1024) + "@b", "localpart"},
	{"resource of 1024 bytes", "b/" + strings.Repeat("R", 1024), "resourcepart"},
	{"resource of 1024 bytes, not ASCII", "b/" + strings.Repeat("\u00e9", 512), "resourcepart"},
	{"megabyte", strings.Repeat("\u00e9", 1<<19) + "@b", "localpart"},
	{"label of 64 bytes", "a@d" + label63, "domainpart"},
	{"U-label of 64 bytes as A-label", strings.Repeat("\u00fc\u00e9", 30), "domainpart"},
	{"domain of 255 bytes", strings.Repeat(label63+".", 3) + label63, "domainpart"},
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for _, test := range invalid {
		t.Run(test.name, func(t *testing.T) {
			j, err := jid.Parse(test.in)
			var e *jid.Error
			if !errors.Is(err, jid.ErrMalformed) || !errors.As(err, &e) {
				t.Fatalf("Parse(%.80q) = %q, %v, want ErrMalformed", test.in, j, err)
			}
			if e.Part != test.part {
				t.Errorf("Parse(%.80q): %v, want one of the %s", test.in, err, test.part)
			}
			if !j.IsZero() {
				t.Errorf("Parse(%.80q) failed and gave %q", test.in, j)
			}
		})
	}
}

// check tests what must be true of every address.
func check(t *testing.T, j jid.JID) {
	t.Helper()
	s := j.String()
	again, err := jid.Parse(s)
	if err != nil || again != j {
		t.Fatalf("Parse(%q) = %q, %v, want itself", s, again, err)
	}
	made, err := jid.New(j.Local(), j.Domain(), j.Resource())
	if err != nil || made != j {
		t.Errorf("New(%q, %q, %q) = %q, %v, want %q", j.Local(), j.Domain(), j.Resource(), made, err, s)
	}
	text := j.Domain()
	if j.Local() != "" {
		text = j.Local() + "@" + text
	}
	if got := j.Bare().String(); got != text {
		t.Errorf("Bare of %q = %q, want %q", s, got, text)
	}
	if j.Resource() != "" {
		text += "/" + j.Resource()
	}
	if s != text {
		t.Errorf("String = %q, but its parts give %q", s, text)
	}
	if !utf8.ValidString(s) {
		t.Errorf("%q is not UTF-8", s)
	}
	for _, part := range []string{j.Local(), j.Domain(), j.Resource()} {
		if len(part) > 1023 {
			t.Errorf("%q has a part of %d bytes", s, len(part))
		}
	}
	if j.Domain() == "" || j.IsZero() || j.IsBare() == j.IsFull() || j.IsFull() != (j.Resource() != "") {
		t.Errorf("%q: domain %q, zero %v, bare %v, full %v", s, j.Domain(), j.IsZero(), j.IsBare(), j.IsFull())
	}
	if b := j.Bare(); !b.IsBare() || b.Bare() != b || b.Domain() != j.Domain() || b.Local() != j.Local() {
		t.Errorf("Bare of %q = %q", s, b)
	}
	if host, err := jid.Parse(j.Domain()); err != nil || host != j.Host() {
		t.Errorf("Host of %q = %q, want %q (%v)", s, j.Host(), host, err)
	}
	if back, err := j.Bare().WithResource(j.Resource()); err != nil || back != j {
		t.Errorf("WithResource(%q) of %q = %q, %v, want %q", j.Resource(), j.Bare(), back, err, s)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want parts }{
		{parts{"A", "B", "C"}, parts{"a", "b", "C"}},
		{parts{"", "B", ""}, parts{"", "b", ""}},
		{parts{"a@b", "c", ""}, parts{}},
		{parts{"a", "b/c", ""}, parts{}},
		{parts{"a", "b@c", ""}, parts{}},
		{parts{"a", "", ""}, parts{}},
		{parts{"a", "b", "c/d@e"}, parts{"a", "b", "c/d@e"}},
	} {
		j, err := jid.New(test.in.local, test.in.domain, test.in.resource)
		if got := (parts{j.Local(), j.Domain(), j.Resource()}); got != test.want || (err != nil) != j.IsZero() {
			t.Errorf("New(%q) = %q, %v, want %q", test.in, got, err, test.want)
		}
	}
}

func TestWithResource(t *testing.T) {
	t.Parallel()
	j := jid.MustParse("a@b/c")
	for _, test := range []struct{ resource, want string }{
		{"d", "a@b/d"},
		{"", "a@b"},
		{"d\u00a0e", "a@b/d e"},
		{" d", ""},
		{"\x01", ""},
	} {
		got, err := j.WithResource(test.resource)
		if got.String() != test.want || (err != nil) != (test.want == "") {
			t.Errorf("WithResource(%q) = %q, %v, want %q", test.resource, got, err, test.want)
		}
	}
	if got, err := (jid.JID{}).WithResource("d"); err == nil {
		t.Errorf("WithResource of no address = %q", got)
	}
}

func TestZero(t *testing.T) {
	t.Parallel()
	var j jid.JID
	if j.Local()+j.Domain()+j.Resource()+j.String() != "" || !j.IsZero() || !j.IsBare() ||
		j.IsFull() || j.Bare() != j || j.Host() != j || j.Clone() != j {
		t.Errorf("the zero value is %#v", j)
	}
}

func TestComparable(t *testing.T) {
	t.Parallel()
	m := map[jid.JID]int{}
	for _, s := range []string{"Juliet@example.com", "juliet@EXAMPLE.com.", "\uff4auliet@example.com"} {
		m[jid.MustParse(s)]++
		m[jid.MustParse(s+"/balcony").Bare()]++
	}
	if len(m) != 1 || m[jid.MustParse("juliet@example.com")] != 6 {
		t.Errorf("equal addresses are different keys: %v", m)
	}
	// The bytes are the same, the parts are not.
	if j := jid.MustParse("a.example/b@c"); j.Local() != "" || j == jid.MustParse("a.example/b") {
		t.Errorf("parts of %q", j)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	type doc struct{ From, To jid.JID }
	in := doc{From: jid.MustParse("a@b/c")}
	b, err := json.Marshal(in)
	var out doc
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil || out != in {
		t.Errorf("%s read back as %v: %v", b, out, err)
	}
	if err := json.Unmarshal([]byte(`{"To":"@"}`), &out); !errors.Is(err, jid.ErrMalformed) {
		t.Errorf("unmarshal @: %v", err)
	}
	if b, err := in.From.AppendText([]byte("to ")); err != nil || string(b) != "to a@b/c" {
		t.Errorf("AppendText = %q, %v", b, err)
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	b := []byte("a@b/c")
	j := jid.MustParse(unsafe.String(&b[0], len(b)))
	if j.String() == "" || unsafe.StringData(j.String()) != &b[0] {
		t.Errorf("Parse did not alias a canonical address")
	}
	c := j.Clone()
	if c != j || unsafe.StringData(c.String()) == &b[0] {
		t.Errorf("Clone shares memory")
	}
}

// TestConcurrent is for the race detector: the profiles are shared.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, test := range valid {
				jid.MustParse(test.in)
			}
		})
	}
	wg.Wait()
}

var sink jid.JID

func TestAllocs(t *testing.T) {
	full := jid.MustParse("juliet@example.com/balcony")
	for _, test := range []struct {
		name string
		max  float64
		f    func()
	}{
		{"Parse canonical", 0, func() { sink, _ = jid.Parse("juliet@capulet.example/balcony") }},
		{"Parse domain", 0, func() { sink, _ = jid.Parse("conference.capulet.example") }},
		{"Parse IPv4", 0, func() { sink, _ = jid.Parse("juliet@192.0.2.1") }},
		{"Parse upper case", 2, func() { sink, _ = jid.Parse("Juliet@capulet.example/balcony") }},
		{"Bare, Host, String", 0, func() { sink, sink = full.Bare(), full.Host(); _ = full.String() }},
		{"New", 1, func() { sink, _ = jid.New("juliet", "capulet.example", "balcony") }},
		{"WithResource", 1, func() { sink, _ = full.WithResource("garden") }},
	} {
		if got := testing.AllocsPerRun(100, test.f); got > test.max {
			t.Errorf("%s: %v allocations, want %v at most", test.name, got, test.max)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, test := range valid {
		f.Add(test.in)
	}
	for _, test := range invalid {
		if len(test.in) < 10_000 {
			f.Add(test.in)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := jid.Parse(s)
		if err != nil {
			if !errors.Is(err, jid.ErrMalformed) || !j.IsZero() {
				t.Fatalf("Parse(%q) = %q, %v", s, j, err)
			}
			return
		}
		check(t, j)
	})
}

func FuzzNew(f *testing.F) {
	for _, test := range valid {
		f.Add(test.want.local, test.want.domain, test.want.resource)
	}
	f.Fuzz(func(t *testing.T, local, domain, resource string) {
		if j, err := jid.New(local, domain, resource); err == nil {
			check(t, j)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, bench := range []struct{ name, in string }{
		{"canonical", "juliet@capulet.example/balcony-4f2a91"},
		{"case", "Juliet@Capulet.example/balcony-4f2a91"},
		{"localpart", "j\u00fcliet@capulet.example/balcony-4f2a91"},
		{"resource", "juliet@capulet.example/balc\u00f3n"},
		{"U-label", "juliet@b\u00fccher.example/balcony-4f2a91"},
		{"longest", strings.Repeat("\uff41", 1364) + "@" + strings.Repeat("\u00fc\u00e9.", 40) + "x/" + strings.Repeat("e\u0301", 500)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink, _ = jid.Parse(bench.in)
			}
		})
	}
}

func BenchmarkBare(b *testing.B) {
	j := jid.MustParse("juliet@capulet.example/balcony")
	b.ReportAllocs()
	for b.Loop() {
		sink = j.Bare()
	}
}
