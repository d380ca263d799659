package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/resolve"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xep/invitation"
	"kith/xmpp/xmltree"
)

// ALPN is the protocol of direct TLS (XEP-0368 §3).
const ALPN = "xmpp-client"

// Config says who logs in, and how.
type Config struct {
	JID      jid.JID // the account; its resource, if it has one, is asked for
	Password string
	// Anonymous logs in without an account (SASL ANONYMOUS); of JID only the host
	// matters. Who one is shows afterwards, and lasts as long as the session.
	Anonymous bool
	// Token, if it is not nil, is asked for a bearer token at each log-in where the
	// server takes one (RFC 7628). If it refuses it, the error holds a
	// *sasl.TokenRefusal, which says where there is a better one.
	Token  func(ctx context.Context) (string, error)
	Memory *sasl.Memory // of hashed passwords, to be shared by log-ins; may be nil
	Lang   string       // of the user; may be ""

	Address   string // host:port; "": where the domain says, or itself at the usual port
	DirectTLS bool   // TLS from the first byte (XEP-0368), not by STARTTLS
	// TLS is nil for what is usual: the domain's certificate is verified. A
	// certificate in it is shown to servers who ask, and logged in with where that
	// is offered (SASL EXTERNAL); the password may be empty then. With a
	// ClientSessionCache in it, which several log-ins share, those after the first
	// spare the certificate and its verification.
	TLS *tls.Config
	// Plaintext allows a server without STARTTLS. A password is never sent to
	// one, only proved (SCRAM).
	Plaintext bool
	// Mechanisms, if it is not nil, are the only ones to be used.
	Mechanisms []string
	// Register makes the account before it logs in (XEP-0077).
	Register bool
	// Invitation is the token to register with, if there is one (XEP-0445).
	Invitation string
	// Management enables XEP-0198 where the server has it.
	Management bool

	// Agent says which installation of which program this is (XEP-0388). Without an
	// id, a UUID that stays the same, there are no tokens.
	Agent negotiate.UserAgent
	// Bind2 has the resource bound with the log-in, where the server can do so
	// (XEP-0386). What has waited for the account is not sent then: it is for the
	// client to look for it in the archive. The resource of JID is not asked for.
	Bind2 bool
	// Tag is part of the resource, with Bind2; others may see it.
	Tag string
	// Carbons has the session get copies from its beginning (XEP-0280), Inactive has
	// it begin as one that nobody looks at (XEP-0352); both with Bind2.
	Carbons, Inactive bool
	// Resumable has a stream that is lost be resumed, see Resumption; with Management.
	Resumable bool
	// Resume is the session that is to be gone on with. If it cannot be, there is a
	// new one.
	Resume *Resumption
	// Tokens, if it is not nil, keeps what the client logs in with again (XEP-0484).
	// Who has no password, but a token, logs in by that alone.
	Tokens negotiate.TokenStore
	// LogOut invalidates the token with which the client logs in.
	LogOut bool
	// Known, if it is not nil, remembers how the client has logged in, so that nobody
	// makes it content with less.
	Known negotiate.Known
	// Code, if it is not nil, is asked for the code of a second factor where the
	// server wants one beside the password.
	Code func() (string, error)
	// Tasks does what else a server wants beside the password; nil: nothing can be
	// done but to give a code and to make keys for other mechanisms (XEP-0480).
	Tasks negotiate.ClientTasks
	// Classic logs in by RFC 6120, also where there is XEP-0388.
	Classic bool
	// Limits are those of the server's elements; zero: xmltree.DefaultLimits.
	Limits xmltree.Limits

	// Raw keeps the client from answering anything on its own and lets Next
	// return everything, acks and the answers to requests as well: SendIQ
	// cannot be used.
	Raw bool
	// Handler, if it is not nil, is called by the reader in place of Next.
	Handler func(el xmltree.Element)
	// Answer answers the requests of others with a payload, or a *stanza.Error.
	// Without it, or when it returns ErrNotMine, pings are answered and
	// everything else is service-unavailable (RFC 6120 §8.4).
	Answer func(iq *stanza.Stanza) (xmltree.Appender, error)

	// Dialer opens connections; nil: a net.Dialer.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects and logs in.
func Dial(ctx context.Context, c Config) (*Client, error) {
	dial := c.Dialer
	if dial == nil {
		if c.Address == "" && !c.DirectTLS {
			return c.find(ctx)
		}
		dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	conn, err := dial(ctx, "tcp", c.address())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.JID.Domain(), err)
	}
	return NewOnConn(ctx, conn, c)
}

// find connects to where the domain says that it listens (RFC 6120 §3.2, XEP-0368).
func (c Config) find(ctx context.Context) (cl *Client, err error) {
	// Whoever logs in has chosen the domain: it may well be in a network of his own.
	d := resolve.Dialer{Resolver: resolve.NewSystem(netip.AddrPort{}), Private: true}
	err = d.Each(ctx, c.JID.Domain(), resolve.Client(), func(ctx context.Context, conn net.Conn, t resolve.Target) (bool, error) {
		config := c
		config.DirectTLS = t.Direct
		var err error
		cl, err = NewOnConn(ctx, conn, config)
		var refused *sasl.Failure
		return errors.As(err, &refused), err // a wrong password is wrong everywhere
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.JID.Domain(), err)
	}
	return cl, nil
}

func (c Config) address() string {
	switch {
	case c.Address != "":
		return c.Address
	case c.DirectTLS:
		return net.JoinHostPort(c.JID.Domain(), "5223")
	}
	return net.JoinHostPort(c.JID.Domain(), "5222")
}

// tlsConfig is the configuration for the domain, whatever host it listens on
// (RFC 6120 §13.7.2.1).
func (c Config) tlsConfig() *tls.Config {
	config := &tls.Config{}
	if c.TLS != nil {
		config = c.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = c.JID.Domain()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if c.DirectTLS && !slices.Contains(config.NextProtos, ALPN) {
		config.NextProtos = append(slices.Clone(config.NextProtos), ALPN)
	}
	return config
}

// NewOnConn logs in over a connection that somebody else has opened. It closes
// the connection if it fails.
func NewOnConn(ctx context.Context, conn net.Conn, c Config) (*Client, error) {
	tcp := stream.NewTCP(conn, stream.Options{Limits: c.Limits})
	if c.DirectTLS {
		if err := tcp.StartTLS(ctx, c.tlsConfig()); err != nil {
			tcp.Close(err)
			return nil, fmt.Errorf("connect to %s: %w", c.JID.Domain(), err)
		}
	}
	state, err := negotiate.Initiate(ctx, tcp, negotiate.ClientOptions{
		Account: c.JID.Bare(),
		Lang:    c.Lang,
		Steps:   c.steps(),
	})
	if err != nil {
		return nil, fmt.Errorf("log in as %s: %w", c.JID.Bare(), err)
	}
	cl := &Client{
		config:  c,
		conn:    tcp,
		state:   state,
		queue:   make(chan xmltree.Element, queueLength),
		done:    make(chan struct{}),
		stop:    make(chan struct{}),
		waiting: make(map[string]*waiter),
	}
	early := state.Early
	state.Early = nil
	if err := cl.resume(); err != nil {
		tcp.Close(err)
		return nil, fmt.Errorf("resume the session of %s: %w", c.Resume.jid, err)
	}
	go cl.read(early)
	return cl, nil
}

// certificate returns the one that the client shows, nil if it has none.
func (c Config) certificate() *x509.Certificate {
	if c.TLS == nil || len(c.TLS.Certificates) == 0 || len(c.TLS.Certificates[0].Certificate) == 0 {
		return nil
	}
	first := c.TLS.Certificates[0]
	if first.Leaf != nil {
		return first.Leaf
	}
	leaf, err := x509.ParseCertificate(first.Certificate[0])
	if err != nil {
		return nil // what cannot be read is not logged in with
	}
	return leaf
}

func (c Config) steps() []negotiate.Step {
	steps := []negotiate.Step{
		negotiate.StartTLS{Config: c.tlsConfig(), Required: !c.Plaintext},
		negotiate.Limits{},
	}
	if c.Register {
		r := negotiate.Register{Query: registration{c.JID.Local(), c.Password}}
		if c.Invitation != "" {
			r.Preauth = invitation.Preauth{Token: c.Invitation}
		}
		steps = append(steps, r)
	}
	mechanisms := negotiate.SASL{
		Credentials: sasl.Credentials{Username: c.JID.Local(), Password: c.Password, Memory: c.Memory, Anonymous: c.Anonymous},
		Only:        c.Mechanisms,
		Certificate: c.certificate(),
		Token:       c.Token,
		Known:       c.Known,
	}
	if !c.Classic {
		steps = append(steps, negotiate.SASL2{SASL: mechanisms, Login: c.login()})
	}
	steps = append(steps, mechanisms, negotiate.Bind{Resource: c.JID.Resource()})
	if c.Management {
		steps = append(steps, negotiate.SM{Resume: c.Resumable})
	}
	return steps
}

// login says what is wanted of a log-in by XEP-0388.
func (c Config) login() *negotiate.Login {
	l := &negotiate.Login{Agent: c.Agent, Tokens: c.Tokens, Leave: c.LogOut, Tasks: c.tasks}
	if c.Resume != nil {
		l.Resume = &negotiate.Resumption{Resume: negotiate.Resume{PrevID: c.Resume.id, H: c.Resume.received.H()}, JID: c.Resume.jid}
	}
	if !c.Bind2 {
		return l
	}
	l.Bind = &negotiate.Bind2{Tag: c.Tag}
	if c.Management {
		l.Wants = append(l.Wants, negotiate.Want{Feature: ns.Acks, Element: negotiate.Enable{Resume: c.Resumable}})
	}
	if c.Carbons {
		l.Wants = append(l.Wants, negotiate.Want{Feature: ns.Carbons, Element: element(carbons.NameEnable)})
	}
	if c.Inactive {
		l.Wants = append(l.Wants, negotiate.Want{Feature: ns.CSI, Element: element{Space: ns.CSI, Local: "inactive"}})
	}
	return l
}

// element is an element without content.
type element xmltree.Name

// AppendXML implements xmltree.Appender.
func (e element) AppendXML(w *xmltree.Writer) { w.Element(xmltree.Name(e), "") }

// registration is what makes an account (XEP-0077 §3.1).
type registration struct{ username, password string }

// AppendXML implements xmltree.Appender.
func (r registration) AppendXML(w *xmltree.Writer) {
	w.Open(xmltree.Name{Space: ns.Register, Local: "query"})
	w.Element(xmltree.Name{Space: ns.Register, Local: "username"}, r.username)
	w.Element(xmltree.Name{Space: ns.Register, Local: "password"}, r.password)
	w.Close()
}
