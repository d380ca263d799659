package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/mam"
	"kith/xmpp/xep/rsm"
	"kith/xmpp/xmltree"
)

// Archive reads archives page by page (XEP-0313 with XEP-0059).
type Archive struct {
	Repeats
	Archives int `help:"How many accounts read their archive, from its beginning." default:"20" group:"Load"`
	Messages int `help:"How many messages of each are read at most. Before, those with fewer write to the next until it has as many." default:"500" group:"Load"`
	Page     int `help:"Messages on a page." default:"50" group:"Load"`
	Body     int `help:"Bytes of the text of messages that are written; at least 32." default:"100" group:"Load"`
}

// Check implements Scenario.
func (b Archive) Check() error {
	return errors.Join(b.check(), atLeast(2, "--archives", b.Archives), atLeast(1, "--messages", b.Messages),
		atLeast(1, "--page", b.Page), atLeast(stampLength, "--body", b.Body))
}

func (Archive) name() string { return "archive" }

func (b Archive) settings() string {
	return fmt.Sprintf("%d archives, up to %d messages of each in pages of %d", b.Archives, b.Messages, b.Page)
}

var errNoArchive = errors.New("the server does not announce " + ns.MAM + " (XEP-0313) for these accounts: it has no archive that can be read, or it is off")

func (b Archive) run(ctx context.Context, r *run) error {
	sessions, err := r.login(ctx, 0, b.Archives, features{})
	if err != nil {
		return err
	}
	if err := sessions[0].archived(ctx); err != nil {
		return err
	}
	if err := b.fill(ctx, r, sessions); err != nil {
		return err
	}
	for i := range b.Repetitions {
		var messages, pages atomic.Int64
		latency := new(histogram)
		before := r.read()
		err := parallel(ctx, b.Archives, r.o.Concurrency, func(k int) error {
			r.progress("reading, %d of %d: %d messages", i+1, b.Repetitions, messages.Load())
			return b.read(ctx, sessions[k], func(n int, took time.Duration) {
				messages.Add(int64(n))
				pages.Add(1)
				latency.add(took)
			})
		})
		if err != nil {
			return err
		}
		spent := r.read().since(before)
		took := spent.at.Sub(before.at)
		n, p := float64(messages.Load()), float64(pages.Load())
		f := Figures{}
		f.add("messages", "messages", n)
		f.add("pages", "pages", p)
		f.add("messages_per_s", "messages/s", n/took.Seconds())
		f.add("pages_per_s", "pages/s", p/took.Seconds())
		if r.server.known() {
			f.add("server_cpu_us_per_message", "server CPU a message, µs", micros(spent.server.cpu, n))
			f.add("server_cpu_ms_per_page", "server CPU a page, ms", millisPer(spent.server.cpu, p))
		}
		f.add("gen_cpu_us_per_message", "generator CPU a message, µs", micros(spent.own, n))
		latency.figures(&f)
		f.add("plain_bytes_per_message", "bytes of XML a message", per(float64(spent.plain), n))
		f.add("wire_bytes_per_message", "bytes on the wire a message", per(float64(spent.in), n))
		r.used(&f, spent, took)
		r.report.Repetitions = append(r.report.Repetitions, f)
	}
	return nil
}

// archived asks whether the account has an archive (XEP-0313 §9: its own address
// says so).
func (s *session) archived(ctx context.Context) error {
	reply, err := s.ask(ctx, stanza.Get, s.account, &disco.Info{}, nil)
	if _, refused := errors.AsType[*stanza.Error](err); refused {
		return errNoArchive
	}
	if err != nil {
		return err
	}
	info, err := disco.ParseInfo(reply.Payload())
	if err != nil {
		return fmt.Errorf("ask what %s can do: %w", s.account, err)
	}
	if !info.Has(ns.MAM) {
		return errNoArchive
	}
	return nil
}

// page is what a query gives.
type page struct {
	messages int
	last     string // item
	complete bool
	count    int // in the whole archive, -1 if it is not said
}

// queryID tells our results from those of others.
const queryID = "kith-bench"

// page asks for at most so many messages behind an item; 0 asks only how many
// there are (XEP-0059 §2.6).
func (s *session) page(ctx context.Context, after string, most int) (page, error) {
	p := page{count: -1}
	q := &mam.Query{QueryID: queryID, Set: rsm.Request{Max: rsm.Of(most), After: after}}
	reply, err := s.ask(ctx, stanza.Set, jid.JID{}, q, func(el xmltree.Element) {
		if stanza.KindOf(el) == stanza.Message && el.Child(mam.NameResult).Attr("queryid") == queryID {
			p.messages++
		}
	})
	if err != nil {
		return p, fmt.Errorf("read the archive of %s: %w", s.account, err)
	}
	fin, err := mam.ParseFin(reply.Payload())
	if err != nil {
		return p, fmt.Errorf("read the archive of %s: %w", s.account, err)
	}
	p.last, p.complete = strings.Clone(fin.Set.Last), fin.Complete
	if fin.Set.Count.Is {
		p.count = fin.Set.Count.N
	}
	return p, nil
}

// read reads an archive from its beginning, and tells each page.
func (b Archive) read(ctx context.Context, s *session, told func(messages int, took time.Duration)) error {
	after := ""
	for n := 0; n < b.Messages; {
		begun := time.Now()
		p, err := s.page(ctx, after, min(b.Page, b.Messages-n))
		if err != nil {
			return err
		}
		told(p.messages, time.Since(begun))
		n += p.messages
		if p.complete || p.messages == 0 || p.last == "" || p.last == after {
			return nil
		}
		after = p.last
	}
	return nil
}

// fill sees to it that there is something to be read: an account with too few
// messages writes the rest to the next.
func (b Archive) fill(ctx context.Context, r *run, sessions []*session) error {
	stamps := newStamps()
	var filled atomic.Int64
	// All at once, for each also reads what is written to it.
	err := parallel(ctx, len(sessions), len(sessions), func(i int) error {
		s := sessions[i]
		r.progress("filling archives, %d of %d", filled.Add(1), len(sessions))
		p, err := s.page(ctx, "", 0)
		if err != nil {
			return err
		}
		if p.count < 0 { // a server need not count: is there anything at all?
			if p, err = s.page(ctx, "", 1); err != nil {
				return err
			}
			p.count = p.messages * b.Messages
		}
		message := stamps.message(sessions[(i+1)%len(sessions)].account, b.Body)
		for n := p.count; n < b.Messages; {
			var out []byte
			for k := 0; k < chunk && n < b.Messages; k++ {
				out = message.append(out, time.Now(), uint32(n))
				n++
			}
			if err := s.write(out); err != nil {
				return err
			}
			if err := s.flush(ctx, new(meter)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// What comes late is not to be read with the first page.
	return parallel(ctx, len(sessions), len(sessions), func(i int) error { return sessions[i].drain(ctx, 300*time.Millisecond, nil) })
}
