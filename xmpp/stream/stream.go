// Package stream implements XML streams: RFC 6120 §4.
//
// A Conn carries first-level elements, whatever it runs over; a Transport is a
// Conn that can still be negotiated. TCP is the one of RFC 6120, with STARTTLS
// or with direct TLS.
//
// One goroutine reads, writers take turns, Close may be called from anywhere.
// No buffer is held while nothing comes in, and none of what is written waits in
// this package but the ciphertext of one batch, see TCP.TryWriteBatch.
package stream

import (
	"context"
	"crypto/tls"

	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

// Conn is one stream as those see it who exchange stanzas over it.
type Conn interface {
	// ReadElement returns the next first-level element. After the peer's
	// closing tag it returns io.EOF; a connection that ends without one gives
	// io.ErrUnexpectedEOF. XML that breaks the rules gives an *Error, which
	// Close sends to the peer. When the peer sent a stream error, that element
	// is returned beside a *PeerError. An *xmltree.OversizeError stands for an
	// element that was skipped (see Limits.Skip) and is not the end.
	ReadElement() (xmltree.Element, error)
	// WriteBatch writes serialised elements. An element may be cut in several
	// slices: one that begins with '<' begins an element, any other goes on
	// with the last.
	WriteBatch(batch [][]byte) error
	// Close ends the stream, telling the peer what err is if it is the peer's
	// business (see ErrorFor), and then the connection. It takes at most about
	// a second. Calls after the first do nothing.
	Close(err error) error
	// Closed waits until a Close that has begun is done.
	Closed()
}

// Transport is a Conn with what is needed until its stream is negotiated.
type Transport interface {
	Conn
	// ReadHeader reads the peer's stream header.
	ReadHeader() (Header, error)
	// Open sends our stream header and, in the same write, what follows it.
	Open(h Header, more ...xmltree.Appender) error
	// Restart begins a new stream on the same connection (RFC 6120 §4.3.3).
	// It fails with ErrBuffered if the peer has sent something already.
	Restart() error
	// StartTLS does the handshake and begins a new stream. It fails with
	// ErrBuffered if something was received ahead of the handshake.
	StartTLS(ctx context.Context, config *tls.Config) error
	// Secure reports whether nobody between the ends can read or change what
	// is sent.
	Secure() bool
	// Bindings returns the channel bindings of the connection, strongest first.
	Bindings() []sasl.Binding
	// SetLimits sets what the peer's elements may cost from now on.
	SetLimits(l xmltree.Limits)
}
