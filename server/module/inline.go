package module

import (
	"context"

	"kith/xmpp/xmltree"
)

// Inline is something that a client may have with its resource, at the moment at
// which that is bound, before anything can be delivered to it (XEP-0386 §3.2).
type Inline struct {
	// Feature is what it is called by service discovery, and announced as; "": it is
	// not announced.
	Feature string
	// Name is the element by which a client asks for it. Without one it comes with
	// each resource that is bound so.
	Name xmltree.Name
	// Enable gives it to t.Sender, in the lane; it may be called twice. answer, if it
	// is not nil, is called outside when that is committed, may read the store but
	// use nothing of t, and returns what goes into <bound/>, nil for nothing.
	Enable func(t *Transit, el xmltree.Element) (answer func(context.Context) (xmltree.Appender, error))
}

// Inline declares what a client may have with its resource.
func (h *Host) Inline(i Inline) { h.inlines = append(h.inlines, i) }

// InlineFeatures returns what is announced of what was declared with Inline.
func (h *Host) InlineFeatures() (list []string) {
	for _, i := range h.inlines {
		if i.Feature != "" {
			list = append(list, i.Feature)
		}
	}
	return list
}

// EnableInline gives t.Sender what its client has asked for, and what comes with
// each resource. It returns the answers that are to be asked for.
func (h *Host) EnableInline(t *Transit, asked func(yield func(xmltree.Element) bool)) (answers []func(context.Context) (xmltree.Appender, error)) {
	add := func(i Inline, el xmltree.Element) {
		if i.Enable == nil {
			return
		}
		if a := i.Enable(t, el); a != nil {
			answers = append(answers, a)
		}
	}
	for _, i := range h.inlines {
		if i.Name == (xmltree.Name{}) {
			add(i, xmltree.Element{})
			continue
		}
		for el := range asked {
			if el.Is(i.Name) {
				add(i, el)
				break
			}
		}
	}
	return answers
}
