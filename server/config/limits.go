package config

import "time"

// Limits is the table [limits].
type Limits struct {
	// The largest stanza before log-in. RFC 6120 §13.12 asks for at least 10,000 bytes.
	StanzaBeforeLogin Size `toml:"stanza_before_login"`
	// How deep elements may be nested before log-in.
	DepthBeforeLogin int `toml:"depth_before_login"`
	// The largest stanza from a client that has logged in.
	Stanza Size `toml:"stanza"`
	// The largest stanza from another server.
	StanzaServer Size `toml:"stanza_server"`
	// How deep elements may be nested.
	Depth int `toml:"depth"`
	// How many elements a stanza may have.
	Elements int `toml:"elements"`
	// How many attributes an element may have.
	Attributes int `toml:"attributes"`
	// How many namespace declarations a stanza may have.
	Namespaces int `toml:"namespaces"`

	// How long a TLS handshake may take.
	Handshake time.Duration `toml:"handshake"`
	// How many TLS handshakes are under way at once; others wait, and their time runs.
	Handshakes int `toml:"handshakes"`
	// How long a client may take from connecting until it has logged in.
	Login time.Duration `toml:"login"`
	// How many connections of one address (an IPv4 address, an IPv6 /64) may be waiting for log-in.
	BeforeLoginPerIP int `toml:"before_login_per_ip"`
	// How many connections in all may be waiting for log-in.
	BeforeLogin int `toml:"before_login"`
	// How many failed log-ins an account and an address are forgiven before they have to wait.
	LoginFailures int `toml:"login_failures"`
	// How long the first wait after too many failed log-ins is; each failure doubles it.
	LoginBackoff time.Duration `toml:"login_backoff"`
	// The longest wait after failed log-ins.
	LoginBackoffMax time.Duration `toml:"login_backoff_max"`

	// How many people may be here without an account (SASL ANONYMOUS), where a host allows that.
	Anonymous int `toml:"anonymous"`
	// How many of them may have one address (an IPv4 address, an IPv6 /64).
	AnonymousPerIP int `toml:"anonymous_per_ip"`

	// How long a client may be silent before the server pings it.
	PingAfter time.Duration `toml:"ping_after"`
	// How long the server waits for the answer to a ping before it takes the connection for dead.
	PingWait time.Duration `toml:"ping_wait"`

	// How many devices of one account may be online.
	Sessions int `toml:"sessions"`
	// What may wait to be sent to one session. A session whose queue is full is detached, if it can be resumed, or closed.
	SessionQueue Size `toml:"session_queue"`
	// How many bytes may be sent to a session that it has not acknowledged (XEP-0198).
	Unacked Size `toml:"unacked"`
	// How many stanzas may be sent to a session that it has not acknowledged (XEP-0198).
	UnackedStanzas int `toml:"unacked_stanzas"`
	// How long a session waits for its client after the connection is lost, so that it can be resumed (XEP-0198); a client may ask for less.
	Resume time.Duration `toml:"resume"`

	// How many stanzas of one stream may be under way in the server; a stream that has used them up is not read meanwhile.
	Credit int `toml:"credit"`
	// How many bytes of one stream may be under way in the server.
	CreditBytes Size `toml:"credit_bytes"`
	// How many stanzas a second one stream may send in the long run; a faster one is read more slowly. 0 is no limit.
	StanzaRate int `toml:"stanza_rate"`
	// How many stanzas one stream may send at once on top of stanza_rate.
	StanzaBurst int `toml:"stanza_burst"`
	// How many bytes a second one stream may send in the long run; a faster one is read more slowly. 0 is no limit.
	ByteRate Size `toml:"byte_rate"`
	// How many bytes one stream may send at once on top of byte_rate.
	ByteBurst Size `toml:"byte_burst"`
}

func defaultLimits() Limits {
	return Limits{
		StanzaBeforeLogin: 10_000,
		DepthBeforeLogin:  8,
		Stanza:            256 * KiB,
		StanzaServer:      512 * KiB,
		Depth:             64,
		Elements:          4096,
		Attributes:        128,
		Namespaces:        64,

		Handshake:        10 * time.Second,
		Handshakes:       64,
		Login:            30 * time.Second,
		BeforeLoginPerIP: 50,
		BeforeLogin:      5000,
		LoginFailures:    5,
		LoginBackoff:     time.Second,
		LoginBackoffMax:  5 * time.Minute,

		Anonymous:      1000,
		AnonymousPerIP: 5,

		PingAfter: 5 * time.Minute,
		PingWait:  time.Minute,

		Sessions:       20,
		SessionQueue:   1 * MiB,
		Unacked:        2 * MiB,
		UnackedStanzas: 5000,
		Resume:         5 * time.Minute,

		Credit:      256,
		CreditBytes: 1 * MiB,
		StanzaRate:  200,
		StanzaBurst: 2000,
		ByteRate:    256 * KiB,
		ByteBurst:   4 * MiB,
	}
}

// Skip is the size up to which a stanza that is larger than most is bounced, and the
// stream goes on. While somebody logs in there is no such grace.
func (Limits) Skip(most Size) int { return max(8*int(most), 4<<20) }
