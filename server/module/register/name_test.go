package register

import (
	"errors"
	"testing"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

func TestNewAddress(t *testing.T) {
	host := jid.MustParse("example.org")
	for _, c := range []struct {
		username, want string
		err            error
	}{
		{"juliet", "juliet@example.org", nil},
		{"Juliet", "juliet@example.org", nil},
		{"juliet.2-capulet_", "juliet.2-capulet_@example.org", nil},
		{"жюльетта", "жюльетта@example.org", nil},
		{"ジュリエット", "ジュリエット@example.org", nil},
		{"juliet愛ひらカタ", "juliet愛ひらカタ@example.org", nil},
		{"juliet愛한글", "juliet愛한글@example.org", nil},
		{"josé", "josé@example.org", nil},
		{"", "", stanza.ErrJIDMalformed},
		{"bill@example.org", "", stanza.ErrJIDMalformed},
		{"bill/home", "", stanza.ErrJIDMalformed},
		{"bill bard", "", stanza.ErrJIDMalformed},
		{"ju\u200bliet", "", stanza.ErrJIDMalformed},
	} {
		got, err := newAddress(c.username, host)
		if got.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("newAddress(%q) = %q, %v; want %q, %v", c.username, got, err, c.want, c.err)
		}
	}
}

func TestNames(t *testing.T) {
	own := jid.MustParse("juliet@example.org")
	for username, want := range map[string]bool{
		"juliet": true, "JULIET": true, "juliet@example.org": true, "Juliet@EXAMPLE.org": true,
		"nurse": false, "juliet@example.com": false, "juliet@example.org/home": false, "@": false, "": false,
	} {
		if got := names(username, own); got != want {
			t.Errorf("names(%q, %s) = %v, want %v", username, own, got, want)
		}
	}
}
