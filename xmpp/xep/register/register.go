// Package register holds the words of XEP-0077: In-Band Registration.
package register

import (
	"errors"

	"kith/xmpp/ns"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload, of request and result.
var Name = xmltree.Name{Space: ns.Register, Local: "query"}

// The forms of XEP-0077 §13.4, by their FORM_TYPE.
const (
	FormRegister       = ns.Register
	FormCancel         = ns.Register + ":cancel"
	FormChangePassword = ns.Register + ":changepassword"
)

// Fields that a server asks for (XEP-0077 §14.1 has more).
const (
	Username = "username"
	Password = "password"
	Email    = "email"
)

var (
	nameRegistered   = xmltree.Name{Space: ns.Register, Local: "registered"}
	nameRemove       = xmltree.Name{Space: ns.Register, Local: "remove"}
	nameInstructions = xmltree.Name{Space: ns.Register, Local: "instructions"}
	nameOOB          = xmltree.Name{Space: ns.OOB, Local: "x"}
	nameURL          = xmltree.Name{Space: ns.OOB, Local: "url"}
)

// ErrMalformed is returned for what is no registration.
var ErrMalformed = errors.New("malformed registration")

// Query is the payload of all requests and results. The zero value asks for the
// fields.
type Query struct {
	Registered   bool // the one who asks has an account
	Remove       bool // cancel the registration
	Instructions string
	Fields       []Field
	Form         *form.Form // goes before the fields (XEP-0077 §6)
	URL          string     // where to register instead (XEP-0066)
}

// Field is one of those that XEP-0077 §14.1 defines.
type Field struct{ Name, Value string }

// AppendXML implements xmltree.Appender.
func (q *Query) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	if q.Registered {
		w.Element(nameRegistered, "")
	}
	if q.Remove {
		w.Element(nameRemove, "")
	}
	if q.Instructions != "" {
		w.Element(nameInstructions, q.Instructions)
	}
	for _, f := range q.Fields {
		w.Element(xmltree.Name{Space: ns.Register, Local: f.Name}, f.Value)
	}
	if q.Form != nil {
		w.Append(q.Form)
	}
	if q.URL != "" {
		w.Open(nameOOB)
		w.Element(nameURL, q.URL)
		w.Close()
	}
	w.Close()
}

// Has reports whether a field is there, empty or not.
func (q *Query) Has(name string) bool {
	if q.Form != nil {
		return q.Form.Field(name) != nil
	}
	for _, f := range q.Fields {
		if f.Name == name {
			return true
		}
	}
	return false
}

// Value returns the value of a field, "" if there is none. If a form came with
// the fields, it alone counts (XEP-0077 §4, §6).
func (q *Query) Value(name string) string {
	if q.Form != nil {
		return q.Form.Value(name)
	}
	for _, f := range q.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Parse reads the payload of a request or a result.
func Parse(el xmltree.Element) (*Query, error) {
	if !el.Is(Name) {
		return nil, ErrMalformed
	}
	q := new(Query)
	for c := range el.Children() {
		switch n := c.Name(); {
		case n == nameRegistered:
			q.Registered = true
		case n == nameRemove:
			q.Remove = true
		case n == nameInstructions:
			q.Instructions = c.Text()
		case n.Space == ns.Register:
			q.Fields = append(q.Fields, Field{n.Local, c.Text()})
		case n == nameOOB:
			q.URL = c.Child(nameURL).Text()
		case n == form.Name && q.Form == nil:
			f, err := form.Parse(c)
			if err != nil {
				return nil, err
			}
			q.Form = f
		}
	}
	return q, nil
}

// Feature is the stream feature that offers registration (XEP-0077 §8).
type Feature struct{}

// NameFeature is the name of the stream feature.
var NameFeature = xmltree.Name{Space: ns.IQReg, Local: "register"}

// AppendXML implements xmltree.Appender.
func (Feature) AppendXML(w *xmltree.Writer) {
	w.Open(NameFeature)
	w.Close()
}
