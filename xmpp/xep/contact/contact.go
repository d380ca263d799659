// Package contact holds the words of XEP-0157: Contact Addresses for XMPP
// Services: a form in what a domain says of itself (XEP-0128).
package contact

import (
	"kith/xmpp/ns"
	"kith/xmpp/xep/form"
)

// Addresses are URIs by purpose.
type Addresses struct {
	Abuse, Admin, Feedback, Sales, Security, Status, Support []string
}

// lists pairs the fields' names, in the order of XEP-0157 §3, with their values.
func (a *Addresses) lists() []struct {
	name string
	uris *[]string
} {
	return []struct {
		name string
		uris *[]string
	}{
		{"abuse-addresses", &a.Abuse},
		{"admin-addresses", &a.Admin},
		{"feedback-addresses", &a.Feedback},
		{"sales-addresses", &a.Sales},
		{"security-addresses", &a.Security},
		{"status-addresses", &a.Status},
		{"support-addresses", &a.Support},
	}
}

// Form returns the form; nil if there are no addresses.
func (a Addresses) Form() *form.Form {
	var fields []form.Field
	for _, l := range a.lists() {
		if len(*l.uris) > 0 {
			fields = append(fields, form.Field{Var: l.name, Values: *l.uris})
		}
	}
	if fields == nil {
		return nil
	}
	return form.New(form.Result, ns.Contact, fields...)
}

// Parse reads the form; false if it is another one.
func Parse(f *form.Form) (Addresses, bool) {
	var a Addresses
	if f.Name() != ns.Contact {
		return a, false
	}
	for _, l := range a.lists() {
		if x := f.Field(l.name); x != nil {
			*l.uris = x.Values
		}
	}
	return a, true
}
