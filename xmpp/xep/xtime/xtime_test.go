package xtime_test

import (
	"testing"
	"time"

	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{ // "" is an error
		{"1969-07-21T02:56:15Z", "1969-07-21T02:56:15Z"},
		{"1969-07-20T21:56:15-05:00", "1969-07-21T02:56:15Z"},
		{"2006-12-19T17:58:35.1Z", "2006-12-19T17:58:35.1Z"},
		{"2006-12-19T17:58:35.123456789+01:30", "2006-12-19T16:28:35.123Z"},
		{"2024-02-29T00:00:00+14:00", "2024-02-28T10:00:00Z"},
		{"", ""},
		{"2006-12-19", ""},
		{"2006-12-19T17:58:35", ""},
		{"2006-12-19T7:58:35Z", ""},
		{"2006-12-19 17:58:35Z", ""},
		{"2006-12-19t17:58:35z", ""},
		{"2006-12-19T17:58:35,5Z", ""},
		{"2006-12-19T17:58:35.Z", ""},
		{"2006-12-19T17:58:35+0100", ""},
		{"2006-12-19T17:58:35+15:00", ""},
		{"2006-12-19T17:58:35Z ", ""},
		{"2006-02-30T17:58:35Z", ""},
		{"2006-12-19T24:58:35Z", ""},
		{"20020910T23:08:25", ""}, // XEP-0091, which is no more
		{"-006-12-19T17:58:35Z", ""},
	} {
		got, err := xtime.Parse(c.in)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("Parse(%q) = %v, want an error", c.in, got)
		case c.want != "" && (err != nil || xtime.Format(got) != c.want):
			t.Errorf("Parse(%q) = %v (%v), want %s", c.in, got, err, c.want)
		}
	}
}

func TestZone(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
	}{{"Z", 0}, {"+00:00", 0}, {"-06:00", -6 * time.Hour}, {"+05:45", 5*time.Hour + 45*time.Minute}} {
		got, err := xtime.ParseZone(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseZone(%q) = %v (%v), want %v", c.in, got, err, c.want)
		}
		if back := xtime.FormatZone(got); back != c.in && c.in != "Z" {
			t.Errorf("FormatZone(%v) = %q, want %q", got, back, c.in)
		}
	}
	for _, in := range []string{"", "z", "06:00", "+6:00", "+06:60", "+25:00", "+06:00 ", "±06:00"} {
		if got, err := xtime.ParseZone(in); err == nil {
			t.Errorf("ParseZone(%q) = %v, want an error", in, got)
		}
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2006, 12, 19, 17, 58, 35, 0, time.UTC)
	// XEP-0202 §3
	const xml = `<time xmlns='urn:xmpp:time'><tzo>-06:00</tzo><utc>2006-12-19T17:58:35Z</utc></time>`
	one := xtime.Time{UTC: at, Offset: -6 * time.Hour}
	if got := string(xmltree.Marshal(one, "")); got != xml {
		t.Errorf("written %s, want %s", got, xml)
	}
	el, err := xmltree.Build(one)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := xtime.ParseTime(el); err != nil || got != one {
		t.Errorf("read %v (%v), want %v", got, err, one)
	}
	if got := string(xmltree.Marshal(xtime.Time{}, "")); got != `<time xmlns='urn:xmpp:time'/>` {
		t.Errorf("the request is %s", got)
	}
	request, err := xmltree.Build(xtime.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := xtime.ParseTime(request); err == nil {
		t.Errorf("a request is read as %v, want an error", got)
	}
}

// FuzzParse: what is a moment stays it.
func FuzzParse(f *testing.F) {
	f.Add("1969-07-20T21:56:15-05:00")
	f.Add("2006-12-19T17:58:35.123Z")
	f.Fuzz(func(t *testing.T, s string) {
		one, err := xtime.Parse(s)
		if err != nil {
			return
		}
		if y := one.UTC().Year(); y < 0 || y > 9999 { // a zone can carry it out of what four digits can say
			return
		}
		two, err := xtime.Parse(xtime.Format(one))
		if err != nil || !two.Equal(one.Truncate(time.Millisecond)) {
			t.Errorf("%q is %v, written and read again %v (%v)", s, one, two, err)
		}
	})
}
