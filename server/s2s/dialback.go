package s2s

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"time"

	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/resolve"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
)

// ByCertificate is how a domain is proved by dialback on a stream whose peer has shown
// its certificate: nobody has to be asked.
const byCertificate = "certificate"

// dialback handles an element of XEP-0220 on a stream of another server.
func (c *incoming) dialback(d negotiate.Dialback) error {
	switch {
	case d.Verdict != "":
		// An answer to what was not asked: on this stream nothing is (XEP-0220 §4).
		c.s.counts.spoofed.Add(1)
		return stream.ErrPolicyViolation.With("an answer to a question that was not asked")
	case d.Verify:
		return stream.Write(c.conn, c.s.authority(d))
	}
	if refusal := c.question(d); refusal != nil {
		return stream.Write(c.conn, d.Refuse(refusal))
	}
	return nil
}

// authority answers as the authoritative server of a domain (XEP-0220 §2.2.2).
func (s *Server) authority(d negotiate.Dialback) negotiate.Dialback {
	if !s.router.Local(d.To.Domain()) {
		return d.Refuse(stanza.ErrItemNotFound)
	}
	want := negotiate.DialbackKey(s.parts.Secret, d.From, d.To, d.ID)
	if subtle.ConstantTimeCompare([]byte(want), []byte(d.Key)) == 1 {
		return d.Answer(negotiate.Valid)
	}
	return d.Answer(negotiate.Invalid)
}

// question begins to look into a key (XEP-0220 §2.2.1). What it returns is why not.
func (c *incoming) question(d negotiate.Dialback) *stanza.Error {
	p := pair{d.To.Domain(), d.From.Domain()}
	switch {
	case !c.s.router.Local(p.from):
		return stanza.ErrItemNotFound
	case !c.s.acceptable(p.to):
		return stanza.ErrForbidden
	case c.certified(d.From) == nil:
		c.verdict(d, negotiate.Valid, byCertificate)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked[p] {
		return nil // the answer is on its way
	}
	if len(c.asked) >= maxAsked || len(c.pairs)+len(c.asked)+c.failed >= maxPairs {
		return stanza.ErrResourceConstraint
	}
	c.asked[p] = true
	c.s.wg.Go(func() { c.verify(p, d) })
	return nil
}

// verify asks the authoritative server.
func (c *incoming) verify(p pair, d negotiate.Dialback) {
	ctx, cancel := context.WithTimeout(c.ctx, connectWithin)
	defer cancel()
	verdict, err := c.ask(ctx, negotiate.Dialback{Verify: true, From: d.To, To: d.From, ID: c.st.ID, Key: d.Key})
	c.mu.Lock()
	delete(c.asked, p)
	if err != nil || verdict != negotiate.Valid {
		c.failed++
	}
	c.mu.Unlock()
	switch {
	case c.ctx.Err() != nil:
		return
	case err != nil:
		c.s.log.Info("key of another server not verified", "from", p.to, "to", p.from, "error", err)
		c.answer(d.Refuse(unverified(err)))
	case verdict != negotiate.Valid:
		// XEP-0220 §2.1.2: the stream may stay, for other domains; what happened is logged.
		c.s.log.Warn("another server has shown a key that is not its domain's", "remote", c.conn.RemoteAddr().String(), "from", p.to, "to", p.from)
		c.answer(d.Refuse(stanza.ErrForbidden)) // §2.5
	default:
		c.verdict(d, verdict, negotiate.DialbackMechanism)
	}
}

// ask is the server's, in the turn of the peer's address.
func (c *incoming) ask(ctx context.Context, q negotiate.Dialback) (verdict string, err error) {
	free, err := c.s.turns.take(ctx, c.source)
	if err != nil {
		return "", err
	}
	defer free()
	return c.s.ask(ctx, c.conf, q)
}

// ask asks whether a key is one of its domain (XEP-0220 §2.1.2). The answer is worth as
// much as the certificate of the server that gives it, if the configuration wants one. It
// may want ours, too: some take not even a question from whom they do not know.
func (s *Server) ask(ctx context.Context, conf *config.Config, q negotiate.Dialback) (verdict string, err error) {
	select {
	case s.verifiers <- struct{}{}:
		defer func() { <-s.verifiers }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	p := pair{q.From.Domain(), q.To.Domain()}
	err = s.introduced(p, func(plain bool) error {
		return s.dialer(conf).Each(ctx, p.to, resolve.Server(), func(ctx context.Context, conn net.Conn, t resolve.Target) (bool, error) {
			tcp := stream.NewTCP(conn, stream.Options{Limits: before(conf)})
			var proved judgement
			_, err := s.initiate(ctx, tcp, p, t, s.speak(conf, p, t, plain, &proved), []negotiate.Step{negotiate.Verify{Ask: q, Verdict: &verdict}})
			if err == nil {
				tcp.Close(nil)
			}
			return refusedUs(err) || errors.Is(err, negotiate.ErrDialback), err
		})
	})
	return verdict, err
}

// unverified is what the other server is told (XEP-0220 §2.5).
func unverified(err error) *stanza.Error {
	switch v := judge(err); {
	case v.why.Is(stanza.ErrRemoteServerNotFound):
		return stanza.ErrRemoteServerNotFound
	case errors.As(err, new(certificateError)):
		return stanza.ErrNotAuthorized.With("The certificate of your authoritative server is not valid.")
	}
	return stanza.ErrRemoteServerTimeout
}

// verdict has a domain taken for proved, and says so.
func (c *incoming) verdict(d negotiate.Dialback, verdict, how string) {
	c.mu.Lock()
	ok := len(c.pairs) < maxPairs
	c.mu.Unlock()
	if !ok {
		c.answer(d.Refuse(stanza.ErrResourceConstraint))
		return
	}
	c.prove(d.To, d.From, how)
	c.answer(d.Answer(verdict))
}

// answer has the reader give an answer. The limits of a peer that has proved something
// are other ones, and are to hold before it knows.
func (c *incoming) answer(d negotiate.Dialback) {
	c.mu.Lock()
	c.verdicts = append(c.verdicts, d)
	c.mu.Unlock()
	c.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // if it is closed, its reader knows
}

// judge gives the answers that are there. (Reader.)
func (c *incoming) judge() error {
	c.mu.Lock()
	answers := c.verdicts
	c.verdicts = nil
	settled := len(c.proved) > 0
	c.mu.Unlock()
	if settled {
		c.settled()
	}
	for _, d := range answers {
		if err := stream.Write(c.conn, d); err != nil {
			return err
		}
		c.told(pair{d.From.Domain(), d.To.Domain()})
	}
	return nil
}

// back returns a stream that a peer has begun, on which stanzas may go the other way
// (XEP-0288); nil if there is none.
func (s *Server) back(p pair) carrier {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.incoming {
		if c.carries(p) {
			return backward{c, p}
		}
	}
	return nil
}

func (c *incoming) carries(p pair) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pairs[p] && c.st.Bidi && !c.conn.Closing()
}

// rouse wakes a link for which there is a stream now.
func (s *Server) rouse(p pair) {
	s.mu.Lock()
	l := s.links[p]
	s.mu.Unlock()
	if l != nil {
		l.rouse()
	}
}

// backward is a peer's bidirectional stream as a carrier for a pair.
type backward struct {
	*incoming
	pair pair
}

func (b backward) write(batch []entry) error {
	err := b.ledger.write(batch, b.done)
	if err == nil {
		b.touch()
		b.sent.Add(int64(len(batch)))
	}
	return err
}

func (b backward) lost() []entry { return b.ledger.lost(b.pair) }

func (b backward) unsettled() int { return b.ledger.owed(b.pair) }

// largest is what the peer has announced when it asked for both ways (XEP-0478 §3.2).
func (b backward) largest() int { return b.st.Limits.Bytes }

func (b backward) ended() <-chan struct{} { return b.done }

func (b backward) hangUp(err error) { b.end(err) }

// domain is a domain as an address; what gets here has been one.
func domain(name string) jid.JID {
	j, err := jid.New("", name, "")
	if err != nil {
		panic(err)
	}
	return j
}
