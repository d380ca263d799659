// Package form holds the words of XEP-0004: Data Forms, with the field that names
// a form's type (XEP-0068).
package form

import (
	"errors"
	"slices"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of a form's element.
var Name = xmltree.Name{Space: ns.DataForm, Local: "x"}

// Type says what a form is for (XEP-0004 §3.1).
type Type string

// The types of forms.
const (
	Empty  Type = "form" // to be completed
	Submit Type = "submit"
	Cancel Type = "cancel"
	Result Type = "result"
)

// FieldType says what a field holds (XEP-0004 §3.3).
type FieldType string

// The types of fields. One that is not known counts as TextSingle, as does none
// in a form to be completed.
const (
	Boolean     FieldType = "boolean"
	Fixed       FieldType = "fixed"
	Hidden      FieldType = "hidden"
	JIDMulti    FieldType = "jid-multi"
	JIDSingle   FieldType = "jid-single"
	ListMulti   FieldType = "list-multi"
	ListSingle  FieldType = "list-single"
	TextMulti   FieldType = "text-multi"
	TextPrivate FieldType = "text-private"
	TextSingle  FieldType = "text-single"
)

// formType is the name of the field that names the form (XEP-0068 §3).
const formType = "FORM_TYPE"

// ErrMalformed is returned for what is no form.
var ErrMalformed = errors.New("malformed data form")

// Form is a data form.
type Form struct {
	Type         Type
	Title        string
	Instructions []string // a line each
	Fields       []Field
	Reported     []Field            // of a result with several items: their columns
	Items        [][]Field          // of a result
	Others       []xmltree.Appender // what another specification puts behind the fields; it is not read
}

// Field is a field of a form.
type Field struct {
	Var      string
	Type     FieldType // "" if it is understood
	Label    string
	Desc     string
	Required bool
	Values   []string
	Options  []Option
	Open     bool // a list that takes other values than it offers (XEP-0122 §3.2.2)
}

// Option is one of those that a list offers.
type Option struct{ Label, Value string }

// New returns a form of a type, whose fields are those of the given FORM_TYPE; ""
// leaves that out.
func New(t Type, name string, fields ...Field) *Form {
	f := &Form{Type: t}
	if name != "" {
		f.Fields = append(f.Fields, Field{Var: formType, Type: Hidden, Values: []string{name}})
	}
	f.Fields = append(f.Fields, fields...)
	return f
}

// Name returns the FORM_TYPE, "" if there is none. In a form that is not a
// submission the field counts only if it is hidden (XEP-0068 §4): else a person
// could have been asked for it.
func (f *Form) Name() string {
	field := f.Field(formType)
	if field == nil || len(field.Values) == 0 || f.Type != Submit && field.Type != Hidden {
		return ""
	}
	return field.Values[0]
}

// Field returns the first field of that name, nil if there is none.
func (f *Form) Field(name string) *Field {
	i := slices.IndexFunc(f.Fields, func(x Field) bool { return x.Var == name })
	if i < 0 {
		return nil
	}
	return &f.Fields[i]
}

// Value returns the first value of a field, "" if there is none.
func (f *Form) Value(name string) string {
	if x := f.Field(name); x != nil && len(x.Values) > 0 {
		return x.Values[0]
	}
	return ""
}

// Bool returns the value of a boolean field: XEP-0004 §3.3 knows two words for
// each. ok is false if it is neither.
func (f *Form) Bool(name string) (value, ok bool) {
	switch f.Value(name) {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}
