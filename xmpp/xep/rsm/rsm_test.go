package rsm_test

import (
	"testing"

	"kith/xmpp/xep/rsm"
	"kith/xmpp/xmltree"
)

func parse(t *testing.T, s string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return el
}

const open, end = `<set xmlns='http://jabber.org/protocol/rsm'>`, `</set>`

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name string
		req  rsm.Request
		xml  string
	}{
		{"§2.1 limit", rsm.Request{Max: rsm.Of(10)}, open + `<max>10</max>` + end},
		{"§2.2 next page", rsm.Request{Max: rsm.Of(10), After: "peter@pixyland.org"}, open + `<max>10</max><after>peter@pixyland.org</after>` + end},
		{"§2.3 page before", rsm.Request{Max: rsm.Of(10), Before: "a&b"}, open + `<max>10</max><before>a&amp;b</before>` + end},
		{"§2.5 last page", rsm.Request{Max: rsm.Of(10), Last: true}, open + `<max>10</max><before/>` + end},
		{"§2.4 by index", rsm.Request{Max: rsm.Of(10), Index: rsm.Of(371)}, open + `<max>10</max><index>371</index>` + end},
		{"§2.6 count", rsm.Request{Max: rsm.Of(0)}, open + `<max>0</max>` + end},
		{"nothing", rsm.Request{}, `<set xmlns='http://jabber.org/protocol/rsm'/>`},
	} {
		if got := string(xmltree.Marshal(&c.req, "")); got != c.xml {
			t.Errorf("%s: written %s, want %s", c.name, got, c.xml)
		}
		if got, err := rsm.ParseRequest(parse(t, c.xml)); err != nil || got != c.req {
			t.Errorf("%s: read %+v (%v), want %+v", c.name, got, err, c.req)
		}
	}
	for _, c := range []struct {
		xml  string
		want rsm.Request
		ok   bool
	}{
		{open + `<after/><x xmlns='y'/>` + end, rsm.Request{}, true},
		{open + `<max> 5 </max>` + end, rsm.Request{Max: rsm.Of(5)}, true},
		{open + `<max>99999999999999999999</max>` + end, rsm.Request{Max: rsm.Of(1<<31 - 1)}, true},
		{open + `<max>-1</max>` + end, rsm.Request{}, false},
		{open + `<max/>` + end, rsm.Request{}, false},
		{open + `<index>x</index>` + end, rsm.Request{}, false},
		{`<set xmlns='x'/>`, rsm.Request{}, false},
	} {
		if got, err := rsm.ParseRequest(parse(t, c.xml)); got != c.want || (err == nil) != c.ok {
			t.Errorf("%s is read as %+v (%v), want %+v", c.xml, got, err, c.want)
		}
	}
}

func TestResults(t *testing.T) {
	for _, c := range []struct {
		name string
		res  rsm.Result
		xml  string
	}{
		{"§2.2 page", rsm.Result{First: "a", Last: "b", Index: rsm.Of(0), Count: rsm.Of(800)}, open + `<first index='0'>a</first><last>b</last><count>800</count>` + end},
		{"without numbers", rsm.Result{First: "a", Last: "a"}, open + `<first>a</first><last>a</last>` + end},
		{"§2.2 empty page", rsm.Result{Count: rsm.Of(790)}, open + `<count>790</count>` + end},
		{"empty set", rsm.Result{}, `<set xmlns='http://jabber.org/protocol/rsm'/>`},
	} {
		if got := string(xmltree.Marshal(&c.res, "")); got != c.xml {
			t.Errorf("%s: written %s, want %s", c.name, got, c.xml)
		}
		if got, err := rsm.ParseResult(parse(t, c.xml)); err != nil || got != c.res {
			t.Errorf("%s: read %+v (%v), want %+v", c.name, got, err, c.res)
		}
	}
	for _, xml := range []string{open + `<first>a</first>` + end, open + `<last>a</last>` + end, open + `<count>x</count>` + end, open + `<first index='-'>a</first><last>a</last>` + end, `<x/>`} {
		if got, err := rsm.ParseResult(parse(t, xml)); err == nil {
			t.Errorf("%s is read as %+v, want an error", xml, got)
		}
	}
}

// FuzzParse: what is read is written so that it is read again as the same.
func FuzzParse(f *testing.F) {
	f.Add(open + `<max>10</max><after>x</after><before/><index>5</index>` + end)
	f.Add(open + `<first index='0'>a</first><last>b</last><count>800</count>` + end)
	f.Fuzz(func(t *testing.T, s string) {
		el, err := xmltree.Parse([]byte(s), xmltree.Limits{})
		if err != nil {
			return
		}
		if r, err := rsm.ParseRequest(el); err == nil {
			if again, err := rsm.ParseRequest(build(t, &r)); err != nil || again != r {
				t.Errorf("%q is read as %+v, and again as %+v (%v)", s, r, again, err)
			}
		}
		if r, err := rsm.ParseResult(el); err == nil {
			if again, err := rsm.ParseResult(build(t, &r)); err != nil || again != r {
				t.Errorf("%q is read as %+v, and again as %+v (%v)", s, r, again, err)
			}
		}
	})
}

func build(t *testing.T, a xmltree.Appender) xmltree.Element {
	t.Helper()
	el, err := xmltree.Build(a)
	if err != nil {
		t.Fatal(err)
	}
	return el
}
