package s2s

import (
	"cmp"
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"kith/xmpp/stream"
)

// Info is a line of kith s2s list: a stream, or what goes to a domain without having
// one.
type Info struct {
	Direction      string    `json:"direction"` // "out" or "in": who has begun it
	Ours           string    `json:"ours"`      // domain
	Theirs         []string  `json:"theirs"`    // domains; of a stream from them, those that they have proved
	State          string    `json:"state"`     // "open", "connecting", "waiting" or "failed"
	Since          time.Time `json:"since"`
	Remote         string    `json:"remote,omitempty"`
	TLS            string    `json:"tls,omitempty"`
	Direct         bool      `json:"direct"`         // TLS from the first byte
	Bidirectional  bool      `json:"bidirectional"`  // XEP-0288
	Acks           bool      `json:"acks"`           // XEP-0198
	Shared         bool      `json:"shared"`         // it was begun for another pair of domains, whose line has the same figures
	Authentication string    `json:"authentication"` // "EXTERNAL", "dialback", "certificate"; "" for none yet
	Certificate    string    `json:"certificate"`    // "valid", "DANE" if the domain has published it, or what is wrong with theirs
	Queued         int       `json:"queued"`         // stanzas
	Sent           int64     `json:"sent"`
	Received       int64     `json:"received"`
	Error          string    `json:"error,omitempty"` // the last with that domain
	ErrorAt        time.Time `json:"error_at,omitzero"`
}

// List returns all streams with other servers, and the domains that could not be
// reached of late.
func (s *Server) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Info{}
	seen := make(map[string]bool)
	add := func(i Info) {
		for _, d := range i.Theirs {
			seen[d] = true
			if f, ok := s.failures[d]; ok {
				i.Error, i.ErrorAt = f.Text, f.At
			}
		}
		all = append(all, i)
	}
	for _, l := range s.links {
		add(l.info())
	}
	for c := range s.incoming {
		add(c.info())
	}
	for d, f := range s.failures {
		if !seen[d] && time.Since(f.At) < failuresShown {
			all = append(all, Info{Direction: "out", Theirs: []string{d}, State: "failed", Since: f.At, Error: f.Text, ErrorAt: f.At})
		}
	}
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(strings.Compare(a.name(), b.name()), strings.Compare(a.Direction, b.Direction), a.Since.Compare(b.Since))
	})
	return all
}

// failuresShown is how long a domain is listed for its last error alone.
const failuresShown = time.Hour

func (i Info) name() string { return strings.Join(i.Theirs, " ") }

func (l *link) info() Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := Info{Direction: "out", Ours: l.from, Theirs: []string{l.to}, State: "waiting", Queued: len(l.queue)}
	if len(l.queue) > 0 {
		i.Since = l.queue[0].at
	}
	if l.dialing {
		i.State = "connecting"
	}
	if l.carrier != nil {
		l.carrier.describe(&i)
	}
	return i
}

// describe implements carrier.
func (o *outgoing) describe(i *Info) {
	i.State, i.Since, i.Remote, i.Direct = "open", o.begun, o.conn.RemoteAddr().String(), o.target.Direct
	i.TLS, i.Bidirectional, i.Authentication = version(o.conn), o.st.Bidi, o.st.Mechanism
	i.Certificate, i.Acks = o.proof.String(), o.ledger.enabled()
	i.Sent, i.Received = o.sent.Load(), o.got.Load()
}

// describe implements carrier.
func (b backward) describe(i *Info) {
	in := b.info()
	in.Direction, in.Ours, in.Theirs, in.Queued = "out", i.Ours, i.Theirs, i.Queued
	*i = in
}

func (c *incoming) info() Info {
	i := Info{Direction: "in", State: "connecting", Since: c.begun, Remote: c.conn.RemoteAddr().String(), Theirs: c.domains(),
		Received: c.got.Load(), Sent: c.sent.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	i.Ours = c.host
	if len(i.Theirs) > 0 { // negotiated, so that what follows does not change any more
		i.State, i.TLS, i.Bidirectional, i.Direct = "open", version(c.conn), c.st.Bidi, c.direct
		i.Authentication, i.Certificate, i.Acks = c.proved[i.Theirs[0]], c.cert, c.ledger.enabled()
	}
	return i
}

func version(c *stream.TCP) string {
	if state := c.TLS(); state != nil {
		return tls.VersionName(state.Version)
	}
	return ""
}

// judged is what is to be said of a certificate.
func judged(err error) string {
	if err != nil {
		return err.Error()
	}
	return "valid"
}

// Stats are figures since the start, and the streams of now.
type Stats struct {
	Out, In                                  int   // streams that are open, by who has begun them
	Links                                    int   // pairs of domains with something to send
	Queued                                   int   // stanzas that wait
	Accepted, Refused                        int64 // connections of others
	Sent, Received, Bounced, Spoofed, Failed int64 // stanzas; attempts to connect
}

// Stats returns the figures.
func (s *Server) Stats() Stats {
	st := Stats{
		Accepted: s.counts.accepted.Load(), Refused: s.counts.refused.Load(), Sent: s.counts.sent.Load(), Received: s.counts.received.Load(),
		Bounced: s.counts.bounced.Load(), Spoofed: s.counts.spoofed.Load(), Failed: s.counts.failed.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Links, st.Out = len(s.links), len(s.outgoing)
	for _, l := range s.links {
		l.mu.Lock()
		st.Queued += len(l.queue)
		l.mu.Unlock()
	}
	for c := range s.incoming {
		if len(c.domains()) > 0 {
			st.In++
		}
	}
	return st
}
