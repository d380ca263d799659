package mam

import (
	"slices"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/form"
	"kith/xmpp/xep/order"
	"kith/xmpp/xep/rsm"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

// Query asks for messages of an archive.
type Query struct {
	QueryID string
	Node    string // of a service (XEP-0442); "" in archives of accounts and rooms
	Filter  Filter
	Set     rsm.Request
	Flip    bool       // the page is sent in reverse (§4.3.4)
	Order   []order.By // of the archive, and so of the page (XEP-0413 §4.3)
}

// Filter says which messages match; the zero value says all.
type Filter struct {
	With              jid.JID // from or to whom; a bare JID stands for all its resources (§4.1.1)
	Start, End        time.Time
	AfterID, BeforeID string
	IDs               []string
	// Groupchat says whether messages of rooms are among them; nil leaves it to the
	// archive (§4.1.4).
	Groupchat *bool
}

// The fields of the form (§4.1).
const (
	fieldWith      = "with"
	fieldStart     = "start"
	fieldEnd       = "end"
	fieldBefore    = "before-id"
	fieldAfter     = "after-id"
	fieldIDs       = "ids"
	fieldGroupchat = "include-groupchat"
)

// Fields returns the form that tells which fields can be used (§4.1.5).
func Fields() *form.Form {
	return form.New(form.Empty, ns.MAM,
		form.Field{Var: fieldWith, Type: form.JIDSingle},
		form.Field{Var: fieldStart, Type: form.TextSingle},
		form.Field{Var: fieldEnd, Type: form.TextSingle},
		form.Field{Var: fieldBefore, Type: form.TextSingle},
		form.Field{Var: fieldAfter, Type: form.TextSingle},
		form.Field{Var: fieldIDs, Type: form.ListMulti, Open: true},
		form.Field{Var: fieldGroupchat, Type: form.Boolean},
	)
}

// form returns the filter as a form, nil if there is nothing in it.
func (f *Filter) form() *form.Form {
	var fields []form.Field
	add := func(name string, values ...string) {
		if len(values) > 0 && values[0] != "" {
			fields = append(fields, form.Field{Var: name, Values: values})
		}
	}
	moment := func(name string, t time.Time) {
		if !t.IsZero() {
			add(name, xtime.Format(t))
		}
	}
	add(fieldWith, f.With.String())
	moment(fieldStart, f.Start)
	moment(fieldEnd, f.End)
	add(fieldBefore, f.BeforeID)
	add(fieldAfter, f.AfterID)
	add(fieldIDs, f.IDs...)
	if f.Groupchat != nil {
		value := "false"
		if *f.Groupchat {
			value = "true"
		}
		add(fieldGroupchat, value)
	}
	if fields == nil {
		return nil
	}
	return form.New(form.Submit, ns.MAM, fields...)
}

// AppendXML implements xmltree.Appender.
func (q *Query) AppendXML(w *xmltree.Writer) {
	w.Open(NameQuery)
	w.AttrOpt("queryid", q.QueryID)
	w.AttrOpt("node", q.Node)
	if f := q.Filter.form(); f != nil {
		f.AppendXML(w)
	}
	if q.Set != (rsm.Request{}) {
		q.Set.AppendXML(w)
	}
	if q.Flip {
		w.Element(nameFlip, "")
	}
	for _, o := range q.Order {
		o.AppendXML(w)
	}
	w.Close()
}

// ParseQuery reads a query: ErrField if it has a field that is not known,
// ErrAddress if the address of the other side is none.
func ParseQuery(el xmltree.Element) (*Query, error) {
	if !el.Is(NameQuery) {
		return nil, ErrMalformed
	}
	q := &Query{
		QueryID: el.Attr("queryid"), Node: el.Attr("node"),
		Flip: el.Child(nameFlip).Exists(), Order: order.Parse(el),
	}
	x, err := form.In(el)
	if err != nil {
		return nil, ErrMalformed
	}
	if x != nil {
		if err := q.Filter.read(x); err != nil {
			return nil, err
		}
	}
	if set := el.Child(rsm.Name); set.Exists() {
		if q.Set, err = rsm.ParseRequest(set); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// read reads a form. Each field is there at most once; one without a value is as
// none.
func (f *Filter) read(x *form.Form) error {
	if x.Type != form.Submit || x.Name() != ns.MAM {
		return ErrMalformed
	}
	for i, field := range x.Fields {
		if slices.ContainsFunc(x.Fields[:i], func(o form.Field) bool { return o.Var == field.Var }) {
			return ErrMalformed
		}
		if err := f.field(field); err != nil {
			return err
		}
	}
	return nil
}

func (f *Filter) field(x form.Field) (err error) {
	if x.Var == fieldIDs {
		if slices.Contains(x.Values, "") {
			return ErrMalformed
		}
		f.IDs = x.Values
		return nil
	}
	value := ""
	switch len(x.Values) {
	case 0:
	case 1:
		value = x.Values[0]
	default:
		return ErrMalformed
	}
	switch x.Var {
	case "FORM_TYPE":
	case fieldWith:
		if value == "" {
			return nil
		}
		if f.With, err = jid.Parse(value); err != nil {
			return ErrAddress
		}
	case fieldStart:
		f.Start, err = moment(value)
	case fieldEnd:
		f.End, err = moment(value)
	case fieldBefore:
		f.BeforeID = value
	case fieldAfter:
		f.AfterID = value
	case fieldGroupchat:
		switch value {
		case "true", "1", "false", "0":
			yes := isTrue(value)
			f.Groupchat = &yes
		case "":
		default:
			return ErrMalformed
		}
	default:
		return ErrField // §4.1.5, at the end
	}
	return err
}

// moment reads a time; "" is none.
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := xtime.Parse(s)
	if err != nil {
		return time.Time{}, ErrMalformed
	}
	return t.UTC(), nil
}
