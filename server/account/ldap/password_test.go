package ldap_test

import (
	"errors"
	"slices"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"kith/server/account"
	"kith/server/config"
	"kith/xmpp/sasl"
)

// TestSetPassword: a password is changed where the directory allows it, of the entry
// of the person and of no other.
func TestSetPassword(t *testing.T) {
	d := people(t)
	c := conf(d)
	c.PasswordChange = true
	o := open(t, c)
	romeo, err := o.Find(t.Context(), "romeo")
	if err != nil {
		t.Fatal(err)
	}
	other := romeo
	other.Subject = "id of uid=another"
	for _, test := range []struct {
		name     string
		who      account.Person
		password string
		code     uint16 // of the directory's answer
		want     error
		asked    bool
	}{
		{"changed", romeo, "another", 0, nil, true},
		{"as it will be compared", romeo, "I\u00adX", 0, nil, true},
		{"not to be logged in with", romeo, "bell\a", 0, sasl.ErrCredentials, false},
		{"none", romeo, "", 0, sasl.ErrCredentials, false},
		{"somebody else's name by now", other, "another", 0, &sasl.Failure{Condition: sasl.NotAuthorized}, false},
		{"nobody's", account.Person{Username: "nobody", Subject: "x"}, "another", 0, &sasl.Failure{Condition: sasl.NotAuthorized}, false},
		{"too weak", romeo, "a", goldap.LDAPResultConstraintViolation, account.ErrPassword, true},
		{"no right to", romeo, "a", goldap.LDAPResultInsufficientAccessRights, account.ErrElsewhere, true},
		{"not known", romeo, "a", goldap.LDAPResultProtocolError, account.ErrElsewhere, true},
	} {
		d.Set(func() { d.Codes["password"] = test.code })
		d.Took()
		if err := o.SetPassword(t.Context(), test.who, test.password); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if asked := d.Took(); slices.Contains(asked, "password uid=romeo") != test.asked {
			t.Errorf("%s: the directory was asked %q", test.name, asked)
		}
	}
	d.Set(func() {
		if d.Passwords["uid=romeo"] != "IX" {
			t.Errorf("the password is %q", d.Passwords["uid=romeo"])
		}
	})
}

// TestSetPasswordNotAllowed: without the configuration's leave nobody is asked.
func TestSetPasswordNotAllowed(t *testing.T) {
	d := people(t)
	for name, change := range map[string]func(*config.LDAP){
		"not said": func(*config.LDAP) {},
		"by nobody": func(c *config.LDAP) {
			c.PasswordChange, c.BindDN, c.Password, c.Base, c.DN = true, "", "", "", "uid={name}"
		},
	} {
		c := conf(d)
		change(&c)
		o := open(t, c)
		d.Took()
		if err := o.SetPassword(t.Context(), account.Person{Username: "romeo", Subject: "id of uid=romeo"}, "another"); !errors.Is(err, account.ErrElsewhere) {
			t.Errorf("%s: %v, want ErrElsewhere", name, err)
		}
		if asked := d.Took(); len(asked) > 0 {
			t.Errorf("%s: the directory was asked %q", name, asked)
		}
	}
}
