package form

import (
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

var (
	nameTitle        = xmltree.Name{Space: ns.DataForm, Local: "title"}
	nameInstructions = xmltree.Name{Space: ns.DataForm, Local: "instructions"}
	nameField        = xmltree.Name{Space: ns.DataForm, Local: "field"}
	nameReported     = xmltree.Name{Space: ns.DataForm, Local: "reported"}
	nameItem         = xmltree.Name{Space: ns.DataForm, Local: "item"}
	nameDesc         = xmltree.Name{Space: ns.DataForm, Local: "desc"}
	nameRequired     = xmltree.Name{Space: ns.DataForm, Local: "required"}
	nameValue        = xmltree.Name{Space: ns.DataForm, Local: "value"}
	nameOption       = xmltree.Name{Space: ns.DataForm, Local: "option"}
	nameValidate     = xmltree.Name{Space: ns.Validate, Local: "validate"}
	nameOpen         = xmltree.Name{Space: ns.Validate, Local: "open"}
)

// AppendXML implements xmltree.Appender.
func (f *Form) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.Attr("type", string(f.Type))
	if f.Title != "" {
		w.Element(nameTitle, f.Title)
	}
	for _, line := range f.Instructions {
		w.Element(nameInstructions, line)
	}
	appendFields(w, f.Fields)
	if len(f.Reported) > 0 {
		w.Open(nameReported)
		appendFields(w, f.Reported)
		w.Close()
	}
	for _, item := range f.Items {
		w.Open(nameItem)
		appendFields(w, item)
		w.Close()
	}
	for _, o := range f.Others {
		o.AppendXML(w)
	}
	w.Close()
}

func appendFields(w *xmltree.Writer, fields []Field) {
	for i := range fields {
		fields[i].AppendXML(w)
	}
}

// AppendXML implements xmltree.Appender.
func (f *Field) AppendXML(w *xmltree.Writer) {
	w.Open(nameField)
	w.AttrOpt("var", f.Var)
	w.AttrOpt("type", string(f.Type))
	w.AttrOpt("label", f.Label)
	if f.Desc != "" {
		w.Element(nameDesc, f.Desc)
	}
	if f.Required {
		w.Element(nameRequired, "")
	}
	if f.Open {
		w.Open(nameValidate)
		w.Attr("datatype", "xs:string")
		w.Element(nameOpen, "")
		w.Close()
	}
	for _, v := range f.Values {
		w.Element(nameValue, v)
	}
	for _, o := range f.Options {
		w.Open(nameOption)
		w.AttrOpt("label", o.Label)
		w.Element(nameValue, o.Value)
		w.Close()
	}
	w.Close()
}

// Parse reads a form. What it does not know it skips (XEP-0004 §3.1).
func Parse(el xmltree.Element) (*Form, error) {
	f := &Form{Type: Type(el.Attr("type"))}
	if !el.Is(Name) {
		return nil, ErrMalformed
	}
	switch f.Type {
	case Empty, Submit, Cancel, Result:
	default:
		return nil, ErrMalformed
	}
	for c := range el.Children() {
		switch c.Name() {
		case nameTitle:
			f.Title = c.Text()
		case nameInstructions:
			f.Instructions = append(f.Instructions, c.Text())
		case nameField:
			f.Fields = append(f.Fields, parseField(c))
		case nameReported:
			f.Reported = append(f.Reported, parseFields(c)...)
		case nameItem:
			f.Items = append(f.Items, parseFields(c))
		}
	}
	return f, nil
}

func parseFields(el xmltree.Element) []Field {
	var fields []Field
	for c := range el.Children() {
		if c.Is(nameField) {
			fields = append(fields, parseField(c))
		}
	}
	return fields
}

func parseField(el xmltree.Element) Field {
	f := Field{Var: el.Attr("var"), Type: FieldType(el.Attr("type")), Label: el.Attr("label")}
	for c := range el.Children() {
		switch c.Name() {
		case nameDesc:
			f.Desc = c.Text()
		case nameRequired:
			f.Required = true
		case nameValidate:
			f.Open = c.Child(nameOpen).Exists()
		case nameValue:
			f.Values = append(f.Values, c.Text())
		case nameOption:
			f.Options = append(f.Options, Option{Label: c.Attr("label"), Value: c.Child(nameValue).Text()})
		}
	}
	return f
}

// In returns the form that is a child of el, nil if there is none. A form that
// cannot be read is an error.
func In(el xmltree.Element) (*Form, error) {
	x := el.Child(Name)
	if !x.Exists() {
		return nil, nil
	}
	return Parse(x)
}
