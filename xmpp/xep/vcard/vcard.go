// Package vcard holds the words of XEP-0054: vcard-temp.
package vcard

import (
	"errors"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload, of requests and results.
var Name = xmltree.Name{Space: ns.VCardTemp, Local: "vCard"}

// ErrMalformed is returned for what is no vCard.
var ErrMalformed = errors.New("malformed vCard")

// Card is a vCard: its properties, in their order. Which there are, and what is in
// them, is between clients. The zero value is the request.
type Card struct {
	Version    string // as an attribute, where clients write it; "" if they do not
	Properties []xmltree.Element
}

// AppendXML implements xmltree.Appender.
func (c *Card) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.AttrOpt("version", c.Version)
	for _, p := range c.Properties {
		w.Append(p)
	}
	w.Close()
}

// Parse reads a vCard. Text between the properties makes it none; properties of
// other namespaces, which some clients add, are kept.
func Parse(el xmltree.Element) (*Card, error) {
	if !el.Is(Name) || strings.TrimSpace(el.Text()) != "" {
		return nil, ErrMalformed
	}
	c := &Card{Version: el.Attr("version")}
	for p := range el.Children() {
		c.Properties = append(c.Properties, p)
	}
	return c, nil
}
