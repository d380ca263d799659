// Package push holds the words of XEP-0357: Push Notifications, with those of
// XEP-0060 that a notification is published in.
package push

import (
	"errors"
	"strconv"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

// Names of the payloads of requests.
var (
	NameEnable  = xmltree.Name{Space: ns.Push, Local: "enable"}
	NameDisable = xmltree.Name{Space: ns.Push, Local: "disable"}
	NamePubSub  = xmltree.Name{Space: ns.PubSub, Local: "pubsub"}
)

var (
	namePublish      = xmltree.Name{Space: ns.PubSub, Local: "publish"}
	nameItem         = xmltree.Name{Space: ns.PubSub, Local: "item"}
	nameOptions      = xmltree.Name{Space: ns.PubSub, Local: "publish-options"}
	nameAffiliations = xmltree.Name{Space: ns.PubSub, Local: "affiliations"}
	nameAffiliation  = xmltree.Name{Space: ns.PubSub, Local: "affiliation"}
	nameNotification = xmltree.Name{Space: ns.Push, Local: "notification"}
)

// The types of the forms.
const (
	formSummary = "urn:xmpp:push:summary"                             // XEP-0357 §11.3
	formOptions = "http://jabber.org/protocol/pubsub#publish-options" // XEP-0060 §7.1.5
)

// ErrMalformed is returned for what is no request of this kind.
var ErrMalformed = errors.New("malformed request about push notifications")

// Service is where notifications go: a node of a push service.
type Service struct {
	JID  jid.JID
	Node string // "" is the service's own choice; in Disable it means all
}

// Enable asks the server to publish notifications (XEP-0357 §5).
type Enable struct {
	Service
	Options *form.Form // what is to be published with them; may be nil
}

// AppendXML implements xmltree.Appender.
func (e *Enable) AppendXML(w *xmltree.Writer) {
	e.append(w, NameEnable)
	if e.Options != nil {
		e.Options.AppendXML(w)
	}
	w.Close()
}

// ParseEnable reads a request to publish notifications. Of a form it keeps what
// XEP-0060 §7.1.5 has in it, names and values; a form of another type it skips.
func ParseEnable(el xmltree.Element) (*Enable, error) {
	e := new(Enable)
	var err error
	if e.Service, err = parse(el, NameEnable); err != nil {
		return nil, err
	}
	for c := range el.Children() {
		if !c.Is(form.Name) || e.Options != nil {
			continue
		}
		f, err := ParseOptions(c)
		if err != nil {
			return nil, err
		}
		e.Options = f
	}
	return e, nil
}

// ParseOptions reads a form with what is to be published with a notification; nil
// is one of another type.
func ParseOptions(el xmltree.Element) (*form.Form, error) {
	f, err := form.Parse(el)
	if err != nil {
		return nil, ErrMalformed
	}
	options := form.New(form.Submit, formOptions)
	for _, field := range f.Fields {
		switch {
		case field.Var == "FORM_TYPE" && (len(field.Values) != 1 || field.Values[0] != formOptions):
			return nil, nil
		case field.Var == "FORM_TYPE":
		case field.Var != "":
			options.Fields = append(options.Fields, form.Field{Var: field.Var, Values: field.Values})
		}
	}
	return options, nil
}

// Disable asks the server not to publish notifications any more (XEP-0357 §6).
type Disable struct{ Service }

// AppendXML implements xmltree.Appender.
func (d *Disable) AppendXML(w *xmltree.Writer) {
	d.append(w, NameDisable)
	w.Close()
}

// ParseDisable reads a request not to publish notifications any more.
func ParseDisable(el xmltree.Element) (*Disable, error) {
	s, err := parse(el, NameDisable)
	return &Disable{s}, err
}

func (s *Service) append(w *xmltree.Writer, n xmltree.Name) {
	w.Open(n)
	w.Attr("jid", s.JID.String())
	w.AttrOpt("node", s.Node)
}

func parse(el xmltree.Element, n xmltree.Name) (s Service, err error) {
	if !el.Is(n) {
		return s, ErrMalformed
	}
	s.Node = el.Attr("node")
	if s.JID, err = jid.Parse(el.Attr("jid")); err != nil {
		return s, ErrMalformed
	}
	return s, nil
}

// Summary is what a notification tells (XEP-0357 §11.3): what is zero it does not.
type Summary struct {
	Messages int     // that the device does not have
	Sender   jid.JID // of the last of them
	Body     string  // of the last of them
}

// Publish is the request that carries a notification to a node (XEP-0357 §7,
// XEP-0060 §7.1).
type Publish struct {
	Node    string
	Summary Summary
	Options *form.Form // as it was asked for; may be nil
}

// AppendXML implements xmltree.Appender.
func (p *Publish) AppendXML(w *xmltree.Writer) {
	w.Open(NamePubSub)
	w.Open(namePublish)
	w.AttrOpt("node", p.Node)
	w.Open(nameItem)
	w.Open(nameNotification)
	p.Summary.form().AppendXML(w)
	w.Close()
	w.Close()
	w.Close()
	if p.Options != nil {
		w.Open(nameOptions)
		p.Options.AppendXML(w)
		w.Close()
	}
	w.Close()
}

func (s *Summary) form() *form.Form {
	f := form.New(form.Submit, formSummary)
	add := func(name, value string) {
		f.Fields = append(f.Fields, form.Field{Var: name, Values: []string{value}})
	}
	if s.Messages > 0 {
		add("message-count", strconv.Itoa(s.Messages))
	}
	if !s.Sender.IsZero() {
		add("last-message-sender", s.Sender.String())
	}
	if s.Body != "" {
		add("last-message-body", s.Body)
	}
	return f
}

// Revoked reads from the pubsub element of a message whether a service takes no
// more notifications for a node (XEP-0357 §8, or in the form of XEP-0060
// §8.9.4).
func Revoked(el xmltree.Element) (node string, revoked bool) {
	if !el.Is(NamePubSub) {
		return "", false
	}
	if all := el.Child(nameAffiliations); all.Exists() {
		el = all
	}
	a := el.Child(nameAffiliation)
	return el.Attr("node"), a.Exists() && a.Attr("affiliation") == "none"
}
