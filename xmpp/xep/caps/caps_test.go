package caps_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kith/xmpp/xep/caps"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want caps.Caps // zero: an error
	}{
		{`<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://code.google.com/p/exodus' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>`,
			caps.Caps{Hash: "sha-1", Node: "http://code.google.com/p/exodus", Ver: "QgayPKawpkPSDYmwT/WM94uAlu0="}},
		{`<c xmlns='http://jabber.org/protocol/caps' node='http://psi-im.org' ver='0.9' ext='a b'/>`, caps.Caps{Node: "http://psi-im.org", Ver: "0.9"}},
		{`<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x'/>`, caps.Caps{}},
		{`<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' ver='x'/>`, caps.Caps{}},
		{`<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='x' ver='` + strings.Repeat("x", 513) + `'/>`, caps.Caps{}},
		{`<c xmlns='urn:xmpp:caps' hash='sha-1' node='x' ver='x'/>`, caps.Caps{}},
	} {
		got, err := caps.Parse(parse(t, c.in))
		if got != c.want || (err != nil) != (c.want == caps.Caps{}) {
			t.Errorf("%s is read as %+v (%v), want %+v", c.in, got, err, c.want)
		}
	}
	c := caps.Caps{Hash: "sha-1", Node: "http://jabberd.org", Ver: "ItBTI0XLDFvVxZ72NQElAzKS9sU="}
	if got, want := string(xmltree.Marshal(c, "jabber:client")), `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://jabberd.org' ver='ItBTI0XLDFvVxZ72NQElAzKS9sU='/>`; got != want {
		t.Errorf("written %s, want %s", got, want)
	}
	if got, want := c.Query(), "http://jabberd.org#ItBTI0XLDFvVxZ72NQElAzKS9sU="; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}

// The answers of XEP-0115 §5.2 and §5.3.
const (
	simple = `<identity category='client' name='Exodus 0.9.1' type='pc'/>
		<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/muc'/>
		<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/disco#info'/>`
	software = `<x xmlns='jabber:x:data' type='result'>
		<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
		<field var='software'><value>Psi</value></field>
		<field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>
		<field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>
		<field var='software_version'><value>0.11</value></field></x>`
	complicated = `<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
		<identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>
		<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>
		<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>` + software
)

func TestHash(t *testing.T) {
	for _, c := range []struct{ name, algorithm, info, want string }{
		{"§5.2", "sha-1", simple, "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"§5.3", "sha-1", complicated, "q07IKJEyjvHSyhy//CH0CxmKi8w="},
		{"a form that counts for nothing: no FORM_TYPE", "sha-1", simple + `<x xmlns='jabber:x:data' type='result'><field var='os'><value>Mac</value></field></x>`, "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"it is not hidden", "sha-1", simple + `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>urn:x</value></field><field var='os'><value>Mac</value></field></x>`, "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"no form at all", "sha-1", simple + `<x xmlns='jabber:x:data'/><y xmlns='z'/>`, "QgayPKawpkPSDYmwT/WM94uAlu0="},
		// printf 'client/pc//Exodus 0.9.1<http://jabber.org/protocol/caps<...' | openssl dgst -sha256 -binary | base64
		{"sha-256", "sha-256", simple, "Wr6IGEKhx6b9627gBmi/cCmpxXBc/GYq5zWuYfWGWoc="},
		{"nothing", "sha-1", "", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
	} {
		got, err := caps.Hash(c.algorithm, answer(t, c.info))
		if err != nil || got != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, got, err, c.want)
		}
	}
	if _, err := caps.Hash("md5", answer(t, simple)); !errors.Is(err, caps.ErrUnknownHash) {
		t.Errorf("md5: %v", err)
	}
}

// XEP-0115 §5.4, step 3, and what else must not be taken for something else.
func TestVerify(t *testing.T) {
	const form = `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:x:y</value></field><field var='os'><value>Mac</value></field></x>`
	for _, c := range []struct {
		name, info string
		want       error
	}{
		{"§5.2", simple, nil},
		{"§5.3", complicated, nil},
		{"nothing", "", nil},
		{"3.3: an identity twice", `<identity category='client' type='pc' name='x'/><identity category='client' type='pc' name='x'/>`, caps.ErrIllFormed},
		{"identities of two languages", `<identity category='client' type='pc' name='x'/><identity category='client' type='pc' xml:lang='en' name='x'/>`, nil},
		{"3.4: a feature twice", simple + `<feature var='http://jabber.org/protocol/muc'/>`, caps.ErrIllFormed},
		{"3.5: a form twice", simple + form + form, caps.ErrIllFormed},
		{"3.5: a form of two names", simple + `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:x</value><value>urn:y</value></field></x>`, caps.ErrIllFormed},
		{"3.5: a name that is said twice", simple + `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:x:y</value><value>urn:x:y</value></field><field var='os'><value>Mac</value></field></x>`, nil},
		{"3.5: a form of two names in two fields", simple + `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:x</value></field><field var='FORM_TYPE' type='hidden'><value>urn:y</value></field></x>`, caps.ErrIllFormed},
		{"§5.1: a separator in the name", `<identity category='client' type='pc' name='SomeClient&lt;http://jabber.org/protocol/muc'/>`, caps.ErrIllFormed},
		{"a separator in a feature", `<feature var='a&lt;b'/>`, caps.ErrIllFormed},
		{"a separator in a value", simple + `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:x:y</value></field><field var='os'><value>M&lt;c</value></field></x>`, caps.ErrIllFormed},
		{"§5.1: what looks like a separator is none", `<identity category='client' type='pc' name='SomeClient&amp;lt;http://jabber.org/protocol/muc'/>`, nil},
		{"an identity that is no category", `<identity category='http:' type='' xml:lang='jabber.org' name='protocol/muc'/>`, caps.ErrAmbiguous},
		{"a slash in the type", `<identity category='client' type='pc/' name='x'/>`, caps.ErrAmbiguous},
		{"a slash in the name", `<identity category='client' type='pc' name='GNU/Linux'/>`, nil},
		{"a feature like an identity", `<feature var='client/pc//x'/>`, caps.ErrAmbiguous},
		{"a feature that is a field", `<feature var='http://jabber.org/protocol/muc'/><feature var='os'/><feature var='urn:xmpp:time'/>`, caps.ErrAmbiguous},
		{"the last feature is none", `<feature var='http://jabber.org/protocol/muc'/><feature var='urn:xmpp:time'/><feature var='vcard-temp'/>`, nil},
		{"features as a form", `<feature var='http://jabber.org/protocol/caps'/><x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/disco#info</value></field>
			<field var='http://jabber.org/protocol/disco#items'><value>http://jabber.org/protocol/muc</value></field></x>`, caps.ErrAmbiguous},
		{"a form without a field", `<feature var='http://jabber.org/protocol/caps'/><x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:x</value></field></x>`, caps.ErrAmbiguous},
		{"a form whose name is none", simple + `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>x</value></field><field var='os'><value>Mac</value></field></x>`, caps.ErrAmbiguous},
		{"fields with names in braces", simple + `<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:x:y</value></field><field var='{urn:x}a'><value>1</value></field></x>`, nil},
	} {
		info := answer(t, c.info)
		ver, err := caps.Hash("sha-1", info)
		if err == nil {
			err = caps.Caps{Hash: "sha-1", Node: "x", Ver: ver}.Verify(info)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		caps.Caps
		want error
	}{
		{caps.Caps{Hash: "sha-1", Ver: "q07IKJEyjvHSyhy//CH0CxmKi8w="}, caps.ErrMismatch},
		{caps.Caps{Hash: "sha-256", Ver: "QgayPKawpkPSDYmwT/WM94uAlu0="}, caps.ErrMismatch},
		{caps.Caps{Hash: "sha-1", Ver: "QgayPKawpkPSDYmwT/WM94uAlu0"}, caps.ErrMismatch},
		{caps.Caps{Ver: "QgayPKawpkPSDYmwT/WM94uAlu0="}, caps.ErrUnknownHash},
	} {
		if err := c.Verify(answer(t, simple)); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.Caps, err, c.want)
		}
	}
}

// An answer whose features were made a form has the same hash, and is refused
// (XEP-0115 §9.3).
func TestPoison(t *testing.T) {
	honest := &disco.Info{Identities: []disco.Identity{{Category: "client", Type: "pc"}}, Features: []string{"a:1", "b", "c:2", "c:3", "urn:z"}}
	ver, err := caps.Hash("sha-1", honest)
	if err != nil {
		t.Fatal(err)
	}
	c := caps.Caps{Hash: "sha-1", Node: "x", Ver: ver}
	poison := &disco.Info{Identities: honest.Identities, Forms: []xmltree.Appender{
		form.New(form.Result, "a:1", form.Field{Var: "b", Values: []string{"c:2", "c:3", "urn:z"}})}}
	if got, err := caps.Hash("sha-1", poison); err != nil || got != ver {
		t.Fatalf("the poison is %s (%v), want %s: the test shows nothing", got, err, ver)
	}
	for name, info := range map[string]*disco.Info{"poison": poison, "honest": honest} {
		if err := c.Verify(info); !errors.Is(err, caps.ErrAmbiguous) {
			t.Errorf("%s: %v, want %v", name, err, caps.ErrAmbiguous)
		}
	}
}

// read makes an answer of factors, the first of which are identities and the next
// features; forms begin where a bit of cuts is set.
func read(factors []string, identities, features int, cuts uint32) *disco.Info {
	info := new(disco.Info)
	for _, s := range factors[:identities] {
		p := strings.SplitN(s, "/", 4)
		if len(p) < 4 {
			return nil
		}
		info.Identities = append(info.Identities, disco.Identity{Category: p[0], Type: p[1], Lang: p[2], Name: p[3]})
	}
	info.Features = factors[identities : identities+features]
	var f *form.Form
	for i, s := range factors[identities+features:] {
		switch {
		case f == nil && s == "":
			return nil
		case f == nil || s != "" && cuts&(1<<(2*i%32)) != 0 && cuts&(2<<(2*i%32)) != 0:
			f = form.New(form.Result, s)
			info.Forms = append(info.Forms, f)
		case len(f.Fields) == 1 || cuts&(1<<(2*i%32)) != 0:
			f.Fields = append(f.Fields, form.Field{Var: s})
		default:
			last := &f.Fields[len(f.Fields)-1]
			last.Values = append(last.Values, s)
		}
	}
	return info
}

// FuzzVerify: the verification string does not depend on the order in which things
// are said, and of all answers that have the same, at most one, up to its forms,
// is taken for true.
func FuzzVerify(f *testing.F) {
	f.Add("client/pc//Exodus 0.9.1<http://jabber.org/protocol/caps<http://jabber.org/protocol/muc", uint32(0))
	f.Add("client/pc/el/x<a:b<c:d<urn:x:y<ip_version<ipv4<ipv6<os<Mac", uint32(0b0100_0000))
	f.Add("a:1<b<c:2<c:3<urn:z", uint32(0))
	f.Add("a/b/c/d<http://x/y/z<a:b<{a:b}c<d<e:f<g<h", uint32(0b1101))
	f.Fuzz(func(t *testing.T, s string, cuts uint32) {
		factors := strings.Split(s, "<")
		if len(factors) > 12 {
			return
		}
		true := make(map[string]string) // of a verification string: identities and features
		for identities := range len(factors) + 1 {
			for features := range len(factors) - identities + 1 {
				info := read(factors, identities, features, cuts)
				if info == nil {
					continue
				}
				ver, err := caps.Hash("sha-1", info)
				back := &disco.Info{Identities: reversed(info.Identities), Features: reversed(info.Features), Forms: reversed(info.Forms)}
				if again, err2 := caps.Hash("sha-1", back); again != ver || !reflect.DeepEqual(err, err2) {
					t.Fatalf("%+v: %q (%v), in another order %q (%v)", info, ver, err, again, err2)
				}
				if (caps.Caps{Hash: "sha-1", Ver: ver}).Verify(info) != nil {
					continue
				}
				said := fmt.Sprintf("%q %q", sortedIdentities(info.Identities), slices.Sorted(slices.Values(info.Features)))
				if other, known := true[ver]; known && other != said {
					t.Fatalf("%s is taken for %s and for %s", ver, other, said)
				}
				true[ver] = said
			}
		}
	})
}

func reversed[T any](s []T) []T {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}

func sortedIdentities(ids []disco.Identity) []string {
	var out []string
	for _, id := range ids {
		out = append(out, fmt.Sprintf("%q", id))
	}
	slices.Sort(out)
	return out
}

func answer(t *testing.T, content string) *disco.Info {
	t.Helper()
	info, err := disco.ParseInfo(parse(t, `<query xmlns='http://jabber.org/protocol/disco#info'>`+content+`</query>`))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func parse(t *testing.T, s string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return el
}
