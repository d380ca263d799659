// Package caps holds the words of XEP-0115: Entity Capabilities, with the
// verification string and its checks.
package caps

import (
	"errors"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the element, in presence and among stream features.
var Name = xmltree.Name{Space: ns.Caps, Local: "c"}

// ErrMalformed is returned for an element that claims nothing.
var ErrMalformed = errors.New("malformed entity capabilities")

// longest is how many bytes an attribute may have.
const longest = 512

// Caps is what somebody claims about what it can do. The zero value claims
// nothing.
type Caps struct {
	Hash string // the algorithm; "" in the format before version 1.4 (§12), which cannot be verified
	Node string // the software
	Ver  string // the verification string
}

// AppendXML implements xmltree.Appender.
func (c Caps) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	w.AttrOpt("hash", c.Hash)
	w.Attr("node", c.Node)
	w.Attr("ver", c.Ver)
	w.Close()
}

// Parse reads the element. Attributes of more than 512 bytes make it malformed.
func Parse(el xmltree.Element) (Caps, error) {
	c := Caps{Hash: el.Attr("hash"), Node: el.Attr("node"), Ver: el.Attr("ver")}
	if !el.Is(Name) || c.Node == "" || c.Ver == "" || max(len(c.Hash), len(c.Node), len(c.Ver)) > longest {
		return Caps{}, ErrMalformed
	}
	return c, nil
}

// Query is the node under which service discovery tells what is claimed (§6.2).
func (c Caps) Query() string { return c.Node + "#" + c.Ver }

// Verifiable reports whether what is claimed can be verified: the algorithm is
// one that we have.
func (c Caps) Verifiable() bool { return algorithms[c.Hash] != nil }
