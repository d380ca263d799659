// Package ns names every XML namespace that Kith speaks, one line each, with
// the specification that defines it.
package ns

// The core of XMPP (RFC 6120, RFC 6121).
const (
	XML     = "http://www.w3.org/XML/1998/namespace"
	XMLNS   = "http://www.w3.org/2000/xmlns/"
	Stream  = "http://etherx.jabber.org/streams"       // RFC 6120 §4.8.1
	Client  = "jabber:client"                          // RFC 6120 §4.8.2
	Server  = "jabber:server"                          // RFC 6120 §4.8.2
	Streams = "urn:ietf:params:xml:ns:xmpp-streams"    // RFC 6120 §4.9, stream errors
	Stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"    // RFC 6120 §8.3, stanza errors
	TLS     = "urn:ietf:params:xml:ns:xmpp-tls"        // RFC 6120 §5
	SASL    = "urn:ietf:params:xml:ns:xmpp-sasl"       // RFC 6120 §6
	Bind    = "urn:ietf:params:xml:ns:xmpp-bind"       // RFC 6120 §7
	Session = "urn:ietf:params:xml:ns:xmpp-session"    // RFC 3921 §3, kept for old clients
	Roster  = "jabber:iq:roster"                       // RFC 6121 §2
	Ver     = "urn:xmpp:features:rosterver"            // RFC 6121 §2.6
	PreAppr = "urn:xmpp:features:pre-approval"         // RFC 6121 §3.4
	Framing = "urn:ietf:params:xml:ns:xmpp-framing"    // RFC 7395
	Acks    = "urn:xmpp:sm:3"                          // XEP-0198
	Limits  = "urn:xmpp:stream-limits:0"               // XEP-0478
	Binding = "urn:xmpp:sasl-cb:0"                     // XEP-0440
	SASL2   = "urn:xmpp:sasl:2"                        // XEP-0388
	Bind2   = "urn:xmpp:bind:0"                        // XEP-0386
	FAST    = "urn:xmpp:fast:0"                        // XEP-0484
	Upgrade = "urn:xmpp:sasl:upgrade:0"                // XEP-0480
	SCRAMUp = "urn:xmpp:scram-upgrade:0"               // XEP-0480 §3
	IAP     = "urn:xmpp:iap:0"                         // XEP-0509
	IQReg   = "http://jabber.org/features/iq-register" // XEP-0077 §8, stream feature
	Accept  = "jabber:component:accept"                // XEP-0114

	Dialback        = "jabber:server:dialback"     // XEP-0220
	DialbackFeature = "urn:xmpp:features:dialback" // XEP-0220 §2.4.2
	Bidi            = "urn:xmpp:bidi"              // XEP-0288
	BidiFeature     = "urn:xmpp:features:bidi"     // XEP-0288 §2.1

	Compat = "http://jabber.org/protocol/httpbind" // XEP-0124
)

// Extensions.
const (
	DataForm   = "jabber:x:data"                          // XEP-0004
	Last       = "jabber:iq:last"                         // XEP-0012
	DiscoInfo  = "http://jabber.org/protocol/disco#info"  // XEP-0030
	DiscoItems = "http://jabber.org/protocol/disco#items" // XEP-0030
	VCardTemp  = "vcard-temp"                             // XEP-0054
	Private    = "jabber:iq:private"                      // XEP-0049
	Register   = "jabber:iq:register"                     // XEP-0077
	ChatStates = "http://jabber.org/protocol/chatstates"  // XEP-0085
	Version    = "jabber:iq:version"                      // XEP-0092
	Caps       = "http://jabber.org/protocol/caps"        // XEP-0115
	Delay      = "urn:xmpp:delay"                         // XEP-0203
	Receipts   = "urn:xmpp:receipts"                      // XEP-0184
	Blocking   = "urn:xmpp:blocking"                      // XEP-0191
	Blocked    = "urn:xmpp:blocking:errors"               // XEP-0191
	Ping       = "urn:xmpp:ping"                          // XEP-0199
	Time       = "urn:xmpp:time"                          // XEP-0202
	Carbons    = "urn:xmpp:carbons:2"                     // XEP-0280
	Forward    = "urn:xmpp:forward:0"                     // XEP-0297
	MAM        = "urn:xmpp:mam:2"                         // XEP-0313
	Markers    = "urn:xmpp:chat-markers:0"                // XEP-0333
	Hints      = "urn:xmpp:hints"                         // XEP-0334
	CSI        = "urn:xmpp:csi:0"                         // XEP-0352
	Delegation = "urn:xmpp:delegation:2"                  // XEP-0355
	Privilege  = "urn:xmpp:privilege:2"                   // XEP-0356
	Privilege1 = "urn:xmpp:privilege:1"                   // XEP-0356 before 0.4
	StanzaID   = "urn:xmpp:sid:0"                         // XEP-0359
	PARS       = "urn:xmpp:pars:0"                        // XEP-0379, also in XEP-0445
	IBRToken   = "urn:xmpp:ibr-token:0"                   // XEP-0445 §3, stream feature
	Contact    = "http://jabber.org/network/serverinfo"   // XEP-0157
	OOB        = "jabber:x:oob"                           // XEP-0066
	Admin      = "http://jabber.org/protocol/admin"       // XEP-0133
	Commands   = "http://jabber.org/protocol/commands"    // XEP-0050
	Conference = "jabber:x:conference"                    // XEP-0249
	MUCUser    = "http://jabber.org/protocol/muc#user"    // XEP-0045
	Offline    = "msgoffline"                             // XEP-0160, disco feature
	Addresses  = "http://jabber.org/protocol/address"     // XEP-0033
	Reporting  = "urn:xmpp:reporting:1"                   // XEP-0377
	Retract    = "urn:xmpp:message-retract:1"             // XEP-0424
	PubSub     = "http://jabber.org/protocol/pubsub"      // XEP-0060
	Push       = "urn:xmpp:push:0"                        // XEP-0357
	CallInvite = "urn:xmpp:jingle-message:0"              // XEP-0353

	PubSubEvent = "http://jabber.org/protocol/pubsub#event" // XEP-0060

	RSM      = "http://jabber.org/protocol/rsm"            // XEP-0059
	Validate = "http://jabber.org/protocol/xdata-validate" // XEP-0122
	OrderBy  = "urn:xmpp:order-by:1"                       // XEP-0413
	MAMTrim  = "urn:xmpp:mamtrim:0"                        // Message Archive Management: Trim Command, a proposal without a number
	CAM      = "urn:xmpp:cam:0"                            // XEP-0494
	MFA      = "urn:xmpp:mfa:0"                            // Multi-Factor Authentication with TOTP, a proposal without a number

	// What stands for requests that nobody else answers (XEP-0355 §7.2.4, §7.2.5).
	DelegationInfo  = "urn:xmpp:delegation:2:bare:disco#info:*"
	DelegationItems = "urn:xmpp:delegation:2:bare:disco#items:*"
)
