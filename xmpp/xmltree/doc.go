// Package xmltree reads and writes the XML of XMPP: one element at a time, its
// bytes and a flat index over them.
//
// # Laws
//
// An Element never changes and may be read by any number of goroutines. A
// Decoder and a Writer belong to one goroutine at a time.
//
// One element is one byte slice and one slice of nodes, both of exact size.
// Names, values and text are handed out as parts of those bytes; they are
// decoded, and so copied, only where a reference or a CDATA section is in them.
//
// The scanner is strict: UTF-8, XML 1.0 and Namespaces in XML 1.0, without what
// RFC 6120 §11.1 forbids and with names in ASCII only. It goes through the bytes
// once, however they arrive, and neither it nor the writer recurses. Limits hold
// while bytes arrive. An element that is merely too long can be scanned to its
// end, in little memory, so that the stream outlives it (Limits.Skip). At most eight times the bytes of a peer are held in
// memory, and writing an element anew makes it at most six times longer, but
// for what it takes from outside (a namespace name has at most 256 bytes).
//
// Bytes are passed on as they came only where they are proved to mean the same
// there (Element.Clean); everything else is written anew from the tree.
//
// The content namespaces jabber:client, jabber:server and
// jabber:component:accept are one here, called jabber:client, as far as they
// are that of the stream (RFC 6120 §4.8.3). Elements written for one of them
// stand on a stream of another without a change.
package xmltree
