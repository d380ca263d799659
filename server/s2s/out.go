package s2s

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"kith/server/config"
	"kith/server/session"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/resolve"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// connectWithin bounds everything that is done for a stream: names, connections,
// TLS, authentication.
const connectWithin = 30 * time.Second

// direct is the protocol of direct TLS between servers (XEP-0368 §3).
const direct = "xmpp-server"

// plainFor is how long it is remembered that a peer does not want our certificate.
const plainFor = time.Hour

// outgoing is a stream that we have begun.
type outgoing struct {
	s      *Server
	pair   pair // that it was begun for
	conf   *config.Config
	conn   *stream.TCP
	st     *negotiate.State
	target resolve.Target
	limits negotiate.MaxLimits // of the peer's
	proof  judgement           // of the peer's certificate, for the domain that we came to
	theirs proof               // for others
	ours   *proof              // of the certificate of the domain that it was begun for; nil: it has none
	done   chan struct{}
	in     *session.Inbound
	sent   atomic.Int64
	got    atomic.Int64
	usage
	ledger ledger
	acks   receipts
	signs  signs
	asking chan struct{} // has a place for each question that is open

	mu    sync.Mutex // guards what follows
	pairs map[pair]*question
}

// connect begins a stream and authenticates it.
func (s *Server) connect(p pair) (o *outgoing, err error) {
	conf := s.config.Load()
	err = s.introduced(p, func(plain bool) (err error) {
		o, err = s.attempt(conf, p, plain)
		return err
	})
	return o, err
}

// introduced tries something with our certificate. Where that is no good for a client,
// in the peer's eyes, it tries it without: the domain can still be proved by dialback.
// What has helped is remembered.
func (s *Server) introduced(p pair, try func(plain bool) error) error {
	plain := s.wantsPlain(p)
	err := try(plain)
	if err == nil || plain || !refusedUs(err) || s.ctx.Err() != nil {
		return err
	}
	s.log.Info("our certificate was refused; it is tried without", "from", p.from, "to", p.to, "error", err)
	if err = try(true); err == nil {
		s.setPlain(p)
	}
	return err
}

// attempt is connect with our certificate or, if it is plain, without.
func (s *Server) attempt(conf *config.Config, p pair, plain bool) (out *outgoing, err error) {
	err = s.dialer(conf).Each(s.ctx, p.to, resolve.Server(), func(ctx context.Context, conn net.Conn, t resolve.Target) (bool, error) {
		o, err := s.begin(ctx, conf, p, plain, conn, t)
		if err != nil {
			return refusedUs(err), err
		}
		out = o
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.outgoing[out] = struct{}{}
	s.mu.Unlock()
	s.wg.Go(out.serve)
	return out, nil
}

// begin negotiates a stream over a connection.
func (s *Server) begin(ctx context.Context, conf *config.Config, p pair, plain bool, conn net.Conn, t resolve.Target) (*outgoing, error) {
	o := &outgoing{s: s, pair: p, conf: conf, target: t, usage: usage{begun: time.Now()}, done: make(chan struct{}),
		ours: names(s.parts.Certificate(p.from)), asking: make(chan struct{}, maxAsked), pairs: first(p)}
	o.conn = stream.NewTCP(conn, stream.Options{Limits: before(conf)})
	from := domain(p.from)
	steps := []negotiate.Step{
		negotiate.Limits{},
		negotiate.Bidi{Use: conf.S2S.Bidi, Limits: announced(conf)},
		negotiate.External{Use: !plain && s.parts.Certificate(p.from) != nil},
		negotiate.ByDialback{Key: func(id string) string {
			return negotiate.DialbackKey(s.parts.Secret, domain(p.to), from, id)
		}},
		roomy{after(conf)},
		negotiate.PeerSM{},
	}
	var err error
	o.st, err = s.initiate(ctx, o.conn, p, t, s.speak(conf, p, t, plain, &o.proof), steps)
	if err != nil {
		return nil, err
	}
	o.theirs = examine(o.conn.TLS(), s.parts.Roots(), time.Now())
	// XEP-0478: what is announced to who has not authenticated is for that time, and
	// behind dialback nothing more is.
	if o.st.Mechanism != negotiate.DialbackMechanism {
		o.limits = o.st.Limits
	}
	o.ledger.conn = o.conn
	o.acks.begin(s, o.conn, &conf.Limits)
	o.in = o.acks.in
	if o.st.SM != nil {
		err = o.ledger.enable(nil)
	}
	return o, err
}

// initiate negotiates TLS and the steps.
func (s *Server) initiate(ctx context.Context, conn *stream.TCP, p pair, t resolve.Target, conf *tls.Config, steps []negotiate.Step) (*negotiate.State, error) {
	if t.Direct {
		conf.NextProtos = []string{direct}
		ctx, cancel := context.WithTimeout(ctx, s.config.Load().Limits.Handshake)
		err := conn.StartTLS(ctx, conf)
		cancel()
		if err != nil {
			conn.Close(err)
			return nil, err
		}
	}
	return negotiate.Initiate(ctx, conn, negotiate.ClientOptions{
		Account: domain(p.to), From: domain(p.from),
		Steps: append([]negotiate.Step{negotiate.StartTLS{Config: conf, Required: true, Timeout: s.config.Load().Limits.Handshake}}, steps...),
	})
}

// speak returns what a stream is encrypted with that we begin. Verification is ours:
// for the domain, whatever the host is called on which it listens (RFC 6120
// §13.7.2.1), and as strict as the configuration wants. Where the domain has published
// what to expect, that is expected (RFC 7673 §4.2).
func (s *Server) speak(conf *config.Config, p pair, t resolve.Target, plain bool, proved *judgement) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         ascii(p.to),
		InsecureSkipVerify: true, // VerifyConnection does it
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert := s.parts.Certificate(p.from); cert != nil && !plain {
				return cert, nil
			}
			return new(tls.Certificate), nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			j := judgePeer(&state, domain(p.to), t, s.parts.Roots(), time.Now())
			*proved = j
			if j.err != nil && (j.dane || needsCertificate(conf, p.to)) {
				return certificateError{j.err}
			}
			return nil
		},
	}
}

// wantsPlain reports whether a peer has refused our certificate a while ago.
func (s *Server) wantsPlain(p pair) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.plain[p]
	if ok && time.Since(at) >= plainFor {
		delete(s.plain, p)
		return false
	}
	return ok
}

func (s *Server) setPlain(p pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.plain) >= maxTroubles {
		clear(s.plain)
	}
	s.plain[p] = time.Now()
}

// serve reads what the peer sends.
func (o *outgoing) serve() {
	o.s.log.Info("stream to another server", "from", o.pair.from, "to", o.pair.to, "at", o.target.String(), "by", o.st.Mechanism,
		"direct", o.target.Direct, "bidi", o.st.Bidi, "certificate", o.proof.String())
	o.signs.begin(o.conn, o.limits.Idle)
	err := o.read()
	o.conn.Close(err)
	o.in.Stop()
	o.ledger.stop()
	o.signs.stop()
	o.s.mu.Lock()
	delete(o.s.outgoing, o)
	o.s.mu.Unlock()
	attrs := []any{"from", o.pair.from, "to", o.pair.to}
	if err != nil && !errors.Is(err, stream.ErrClosed) {
		attrs = append(attrs, "error", err)
		o.s.mu.Lock()
		o.s.note(o.pair.to, err)
		o.s.mu.Unlock()
	}
	o.s.log.Info("stream to another server ended", attrs...)
	close(o.done)
	o.conn.Closed()
}

func (o *outgoing) read() (err error) {
	defer func() {
		if v := recover(); v != nil {
			o.s.log.Error("panic in a stream's reader", "to", o.pair.to, "panic", v, "stack", string(debug.Stack()))
			err = stream.ErrInternalServerError
		}
	}()
	take := intake{s: o.s, in: o.in, oneWay: !o.st.Bidi, proved: o.speaksFor, known: o.knows}
	for _, el := range o.st.Early {
		if err := o.element(&take, el); err != nil {
			return err
		}
	}
	o.st.Early = nil
	if o.st.SM != nil { // what came early came before <enabled/>
		o.in.CountFromHere()
	}
	for {
		if o.in.Full() {
			o.in.Wait()
		}
		el, err := o.conn.ReadElement()
		switch {
		case errors.Is(err, io.EOF) && o.conn.Closing():
			return stream.ErrClosed
		case errors.Is(err, io.EOF):
			return nil
		case take.oversize(err):
			continue
		case err != nil:
			return err
		}
		if err := o.element(&take, el); err != nil {
			return err
		}
	}
}

// element handles one first-level element.
func (o *outgoing) element(take *intake, el xmltree.Element) error {
	o.touch()
	d, ok, err := negotiate.ParseDialback(el)
	switch {
	case err != nil:
		return err
	case ok:
		return o.dialback(d)
	case el.Name().Space == ns.Acks:
		return o.s.management(el, &o.ledger, &o.acks, false)
	case el.Name().Space == ns.Client:
		o.got.Add(1)
		return take.stanza(el)
	}
	return stream.ErrUnsupportedStanzaType
}

// dialback handles what a peer says of domains on a stream of ours.
func (o *outgoing) dialback(d negotiate.Dialback) error {
	switch {
	case d.Verdict != "" && !d.Verify && o.answer(d):
		if !o.allowed() { // since it was asked: who ends such streams may not have seen it
			return stream.ErrPolicyViolation
		}
		return nil
	case d.Verdict != "":
		o.s.counts.spoofed.Add(1)
		return stream.ErrPolicyViolation.With("an answer to a question that was not asked")
	case d.Verify:
		return stream.Write(o.conn, o.s.authority(d))
	}
	// XEP-0288 §2.2: a peer may want to speak for more domains than the one that we
	// have come to. It can do so on a stream of its own.
	return stream.Write(o.conn, d.Refuse(stanza.ErrNotAcceptable))
}

// write implements carrier.
func (o *outgoing) write(batch []entry) error {
	err := o.ledger.write(batch, o.done)
	if err == nil {
		o.touch()
		o.signs.wrote()
		o.sent.Add(int64(len(batch)))
	}
	return err
}

// lost implements carrier.
func (o *outgoing) lost() []entry { return o.ledger.lost(o.pair) }

// unsettled implements carrier.
func (o *outgoing) unsettled() int { return o.ledger.owed(o.pair) }

// largest implements carrier.
func (o *outgoing) largest() int { return o.limits.Bytes }

// ended implements carrier.
func (o *outgoing) ended() <-chan struct{} { return o.done }

// hangUp implements carrier.
func (o *outgoing) hangUp(err error) {
	o.in.Free()
	o.conn.Close(err)
}
