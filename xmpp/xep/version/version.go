// Package version holds the words of XEP-0092: Software Version.
package version

import (
	"errors"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload, of request and result.
var Name = xmltree.Name{Space: ns.Version, Local: "query"}

var (
	nameName    = xmltree.Name{Space: ns.Version, Local: "name"}
	nameVersion = xmltree.Name{Space: ns.Version, Local: "version"}
	nameOS      = xmltree.Name{Space: ns.Version, Local: "os"}
)

// ErrIncomplete is returned for a result without the name of the software.
var ErrIncomplete = errors.New("software version without a name")

// Query is what somebody runs. The zero value is the request.
type Query struct {
	Name    string
	Version string
	OS      string // "" if they do not tell
}

// AppendXML implements xmltree.Appender.
func (q Query) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	if q.Name != "" {
		w.Element(nameName, q.Name)
		w.Element(nameVersion, q.Version)
		if q.OS != "" {
			w.Element(nameOS, q.OS)
		}
	}
	w.Close()
}

// Parse reads a result. A missing version is tolerated: some have none to tell.
func Parse(el xmltree.Element) (Query, error) {
	q := Query{
		Name:    el.Child(nameName).Text(),
		Version: el.Child(nameVersion).Text(),
		OS:      el.Child(nameOS).Text(),
	}
	if !el.Is(Name) || q.Name == "" {
		return Query{}, ErrIncomplete
	}
	return q, nil
}
