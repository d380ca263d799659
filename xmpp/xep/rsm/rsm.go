// Package rsm holds the words of XEP-0059: Result Set Management.
package rsm

import (
	"errors"
	"strconv"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the element, in requests and in results.
var Name = xmltree.Name{Space: ns.RSM, Local: "set"}

var (
	nameMax    = xmltree.Name{Space: ns.RSM, Local: "max"}
	nameAfter  = xmltree.Name{Space: ns.RSM, Local: "after"}
	nameBefore = xmltree.Name{Space: ns.RSM, Local: "before"}
	nameIndex  = xmltree.Name{Space: ns.RSM, Local: "index"}
	nameFirst  = xmltree.Name{Space: ns.RSM, Local: "first"}
	nameLast   = xmltree.Name{Space: ns.RSM, Local: "last"}
	nameCount  = xmltree.Name{Space: ns.RSM, Local: "count"}
)

// ErrMalformed is returned for a set whose numbers are none.
var ErrMalformed = errors.New("malformed result set")

// Int is a number that need not be there. The zero value is none.
type Int struct {
	N  int
	Is bool
}

// Of returns the number n.
func Of(n int) Int { return Int{n, true} }

// Request asks for a page of a set. The zero value asks for the first, as large as
// the other side likes.
type Request struct {
	Max    Int    // how many items at most; 0 asks for their number only (§2.6)
	After  string // the item before the page; "" is the beginning of the set
	Before string // the item behind the page, which ends there; see Last
	Last   bool   // with Before "": the last page (§2.5)
	Index  Int    // the page begins at the item of that number, from 0 on (§2.4)
}

// Backwards reports whether the page is told by where it ends.
func (r *Request) Backwards() bool { return r.Last || r.Before != "" }

// AppendXML implements xmltree.Appender.
func (r *Request) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	appendInt(w, nameMax, r.Max)
	if r.After != "" {
		w.Element(nameAfter, r.After)
	}
	if r.Backwards() {
		w.Element(nameBefore, r.Before)
	}
	appendInt(w, nameIndex, r.Index)
	w.Close()
}

// ParseRequest reads a request. What it does not know it skips.
func ParseRequest(el xmltree.Element) (r Request, err error) {
	if !el.Is(Name) {
		return Request{}, ErrMalformed
	}
	for c := range el.Children() {
		switch c.Name() {
		case nameMax:
			r.Max, err = parseInt(c)
		case nameAfter:
			r.After = c.Text()
		case nameBefore:
			r.Before = c.Text()
			r.Last = r.Before == ""
		case nameIndex:
			r.Index, err = parseInt(c)
		}
		if err != nil {
			return Request{}, err
		}
	}
	return r, nil
}

// Result tells which page of a set was given.
type Result struct {
	First, Last string // the items at its ends; "" if it is empty
	Index       Int    // of the first item in the set
	Count       Int    // of the items in the set; it may be approximate
}

// AppendXML implements xmltree.Appender.
func (r *Result) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	if r.First != "" {
		w.Open(nameFirst)
		if r.Index.Is {
			w.Attr("index", strconv.Itoa(r.Index.N))
		}
		w.Text(r.First)
		w.Close()
		w.Element(nameLast, r.Last)
	}
	appendInt(w, nameCount, r.Count)
	w.Close()
}

// ParseResult reads a result. What it does not know it skips.
func ParseResult(el xmltree.Element) (r Result, err error) {
	if !el.Is(Name) {
		return Result{}, ErrMalformed
	}
	for c := range el.Children() {
		switch c.Name() {
		case nameFirst:
			r.First = c.Text()
			if index, ok := c.LookupAttr(xmltree.Name{Local: "index"}); ok {
				r.Index, err = number(index)
			}
		case nameLast:
			r.Last = c.Text()
		case nameCount:
			r.Count, err = parseInt(c)
		}
		if err != nil {
			return Result{}, err
		}
	}
	if (r.First == "") != (r.Last == "") {
		return Result{}, ErrMalformed
	}
	if r.First == "" {
		r.Index = Int{}
	}
	return r, nil
}

func appendInt(w *xmltree.Writer, n xmltree.Name, i Int) {
	if i.Is {
		w.Element(n, strconv.Itoa(i.N))
	}
}

func parseInt(el xmltree.Element) (Int, error) { return number(el.Text()) }

// most is as large as a number counts: the schema's are unbounded, nobody's sets
// are.
const most = 1<<31 - 1

func number(s string) (Int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		n = most
	case err != nil:
		return Int{}, ErrMalformed
	}
	return Of(int(min(n, most))), nil
}
