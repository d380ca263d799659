package xmltree

// Limits bound what one first-level element may cost; they are enforced while
// its bytes arrive. A field that is zero takes its value from DefaultLimits.
type Limits struct {
	Bytes      int // bytes of one element; also of the stream header with what stands before it
	Depth      int // nested elements; the first-level element has depth 1
	Elements   int // elements of one first-level element
	Attrs      int // attributes of one element, namespace declarations included
	Namespaces int // different namespaces declared in one first-level element, and prefixes in force at once

	// Skip is the bytes up to which a first-level element that has more than
	// Bytes is scanned to its end without being kept, for the stream to go on
	// behind it; see OversizeError. All other limits hold, and its start tag must
	// be within Bytes. An element that is longer still ends the stream, as does
	// any that has more than Bytes if Skip is 0.
	Skip int
}

// DefaultLimits are those of a client's stream after login.
func DefaultLimits() Limits {
	return Limits{Bytes: 256 << 10, Depth: 64, Elements: 4096, Attrs: 128, Namespaces: 64}
}

// Bounds that no configuration moves.
const (
	maxBytes = 1 << 28 // offsets are 32 bits wide
	maxNodes = 1 << 23 // node references are 24 bits wide, one of them a flag
	maxDepth = 1 << 22
	maxName  = 1024 // bytes of a qualified name
	maxDecl  = 256  // bytes of an XML declaration
	maxRef   = 32   // bytes of an entity or character reference

	// A namespace name is repeated wherever an element is written without what
	// was around it, so a long one would make short elements long.
	maxNamespace = 256  // bytes of a namespace name
	maxOuter     = 1024 // bytes of all that a stream header declares
)

// StoredLimits are for what was a stanza before and has been kept by ourselves: more than
// any stanza is allowed, so that lower limits do not make it unreadable.
func StoredLimits() Limits {
	return Limits{Bytes: 4 << 20, Depth: 256, Elements: 1 << 16, Attrs: 1 << 10, Namespaces: 1 << 12}
}

// withDefaults fills in what was left zero and clamps what we cannot index.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		Bytes:      clamp(l.Bytes, d.Bytes, maxBytes),
		Depth:      clamp(l.Depth, d.Depth, maxDepth),
		Elements:   clamp(l.Elements, d.Elements, maxNodes),
		Attrs:      clamp(l.Attrs, d.Attrs, maxNodes),
		Namespaces: clamp(l.Namespaces, d.Namespaces, maxNodes),
		Skip:       clamp(l.Skip, d.Skip, maxBytes),
	}
}

func clamp(v, zero, most int) int {
	if v <= 0 {
		return zero
	}
	return min(v, most)
}
