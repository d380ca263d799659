package access_test

import (
	"reflect"
	"testing"
	"time"

	"kith/xmpp/xep/access"
	"kith/xmpp/xmltree"
)

// The list of XEP-0494 §4.1, example 2, and what of it has no example.
const example = `<clients xmlns='urn:xmpp:cam:0'>` +
	`<client connected='true' id='zeiP41HLglIu' type='session'><first-seen>2023-04-06T14:26:08Z</first-seen><last-seen>2023-04-06T14:37:25Z</last-seen>` +
	`<auth><password/></auth><permission status='unrestricted'/>` +
	`<user-agent><software>Gajim</software><uri>https://gajim.org/</uri><device>Juliet&apos;s laptop</device></user-agent></client>` +
	`<client connected='false' id='HjEEr45_LQr' type='access'><first-seen>2023-03-27T15:16:09Z</first-seen><last-seen>2023-03-27T15:37:24Z</last-seen>` +
	`<auth><grant/></auth><permission status='normal'/><user-agent><software>REST client</software></user-agent></client>` +
	`<client connected='true' id='x' type='session'><auth><password/><fast/><mechanism xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>EXTERNAL</mechanism></auth>` +
	`<permission status='unrestricted'/></client></clients>`

var clients = access.Clients{
	{
		Connected: true, ID: "zeiP41HLglIu", Type: access.Session, Auth: access.Auth{Password: true}, Permission: access.Unrestricted,
		First: time.Date(2023, 4, 6, 14, 26, 8, 0, time.UTC), Last: time.Date(2023, 4, 6, 14, 37, 25, 0, time.UTC),
		Software: "Gajim", URI: "https://gajim.org/", Device: "Juliet's laptop",
	},
	{
		ID: "HjEEr45_LQr", Type: access.Access, Auth: access.Auth{Grant: true}, Permission: access.Normal,
		First: time.Date(2023, 3, 27, 15, 16, 9, 0, time.UTC), Last: time.Date(2023, 3, 27, 15, 37, 24, 0, time.UTC), Software: "REST client",
	},
	{Connected: true, ID: "x", Type: access.Session, Auth: access.Auth{Password: true, Fast: true, Mechanism: "EXTERNAL"}, Permission: access.Unrestricted},
}

func parse(t *testing.T, text string) xmltree.Element {
	t.Helper()
	el, err := xmltree.Parse([]byte(text), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return el
}

func TestClients(t *testing.T) {
	got, err := access.Parse(parse(t, example))
	if err != nil || !reflect.DeepEqual(got, clients) {
		t.Errorf("read as %+v, %v; want %+v", got, err, clients)
	}
	again, err := access.Parse(parse(t, string(xmltree.Marshal(clients, "jabber:client"))))
	if err != nil || !reflect.DeepEqual(again, clients) {
		t.Errorf("written and read: %+v, %v; want %+v", again, err, clients)
	}
	if text := string(xmltree.Marshal(access.Clients{}, "jabber:client")); text != `<clients xmlns='urn:xmpp:cam:0'/>` {
		t.Errorf("nobody is written %s", text)
	}
}

func TestMalformed(t *testing.T) {
	for _, text := range []string{`<list xmlns='urn:xmpp:cam:0'/>`, `<clients xmlns='urn:xmpp:cam:0'><client type='session'/></clients>`} {
		if got, err := access.Parse(parse(t, text)); err == nil {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
	got, err := access.Parse(parse(t, `<clients xmlns='urn:xmpp:cam:0'><other/><client id='a'><first-seen>yesterday</first-seen></client></clients>`))
	if err != nil || len(got) != 1 || !got[0].First.IsZero() {
		t.Errorf("a time that is none: %+v, %v", got, err)
	}
}

func TestRequests(t *testing.T) {
	for want, a := range map[string]xmltree.Appender{
		`<list xmlns='urn:xmpp:cam:0'/>`:                    access.List{},
		`<revoke xmlns='urn:xmpp:cam:0' id='x'/>`:           access.Revoke{ID: "x"},
		`<password-reset-required xmlns='urn:xmpp:cam:0'/>`: access.PasswordReset{},
	} {
		if got := string(xmltree.Marshal(a, "jabber:client")); got != want {
			t.Errorf("%T is written %s, want %s", a, got, want)
		}
	}
	if r := access.ParseRevoke(parse(t, `<revoke xmlns='urn:xmpp:cam:0' id='x'/>`)); r.ID != "x" {
		t.Errorf("read as %+v", r)
	}
}
