package web

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kith/server/component"
	"kith/server/route"
	"kith/server/s2s"
)

// figure is one metric: how it is called and where it comes from.
type figure struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*reading) float64
}

// reading is all that is read for one answer.
type reading struct {
	s       *Server
	mem     runtime.MemStats
	servers s2s.Stats
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

func figures() []figure {
	return []figure{
		{"kith_sessions", "Sessions that are logged in.", gauge, func(r *reading) float64 { return float64(r.s.Router.Stats().Sessions) }},
		{"kith_c2s_streams", "Streams of clients, logged in or not.", gauge, func(r *reading) float64 { return float64(r.s.Clients.Stats().Streams) }},
		{"kith_c2s_waiting", "Streams of clients that are not logged in.", gauge, func(r *reading) float64 { return float64(r.s.Clients.Stats().Waiting) }},
		{"kith_c2s_accepted_total", "Connections accepted.", counter, func(r *reading) float64 { return float64(r.s.Clients.Stats().Accepted) }},
		{"kith_c2s_refused_total", "Connections refused by the limits before log-in.", counter, func(r *reading) float64 { return float64(r.s.Clients.Stats().Refused) }},
		{"kith_c2s_logins_total", "Log-ins.", counter, func(r *reading) float64 { return float64(r.s.Clients.Stats().LoggedIn) }},
		{"kith_c2s_failed_logins_total", "Log-ins refused for a wrong name or password.", counter, func(r *reading) float64 { return float64(r.s.Clients.Stats().FailedLogins) }},
		{"kith_c2s_resumed_total", "Sessions that went on with another stream (XEP-0198).", counter, func(r *reading) float64 { return float64(r.s.Clients.Stats().Resumed) }},
		{"kith_c2s_errors_total", "Streams of clients that ended with an error.", counter, func(r *reading) float64 { return float64(r.s.Clients.Stats().Broken) }},
		{"kith_c2s_anonymous", "People who are here without an account.", gauge, func(r *reading) float64 { return float64(r.s.Accounts.TemporaryStats().Accounts) }},
		{"kith_c2s_anonymous_total", "Log-ins without an account.", counter, func(r *reading) float64 { return float64(r.s.Accounts.TemporaryStats().Made) }},
		{"kith_c2s_anonymous_refused_total", "Log-ins without an account refused by the limits.", counter, func(r *reading) float64 { return float64(r.s.Accounts.TemporaryStats().Refused) }},
		{"kith_s2s_links", "Pairs of a domain of ours and another's with a stream or something to send.", gauge, func(r *reading) float64 { return float64(r.servers.Links) }},
		{"kith_s2s_queue", "Stanzas that wait for a stream to another server.", gauge, func(r *reading) float64 { return float64(r.servers.Queued) }},
		{"kith_s2s_accepted_total", "Connections of other servers accepted.", counter, func(r *reading) float64 { return float64(r.servers.Accepted) }},
		{"kith_s2s_refused_total", "Connections of other servers refused by the limits.", counter, func(r *reading) float64 { return float64(r.servers.Refused) }},
		{"kith_s2s_sent_total", "Stanzas sent to other servers.", counter, func(r *reading) float64 { return float64(r.servers.Sent) }},
		{"kith_s2s_received_total", "Stanzas received from other servers.", counter, func(r *reading) float64 { return float64(r.servers.Received) }},
		{"kith_s2s_bounced_total", "Stanzas that could not be sent to another server.", counter, func(r *reading) float64 { return float64(r.servers.Bounced) }},
		{"kith_s2s_spoofed_total", "Stanzas and answers of other servers that were none of theirs to send.", counter, func(r *reading) float64 { return float64(r.servers.Spoofed) }},
		{"kith_s2s_failed_total", "Attempts to reach another server that failed.", counter, func(r *reading) float64 { return float64(r.servers.Failed) }},
		{"kith_stanzas_delivered_total", "Stanzas put into sessions' queues.", counter, func(r *reading) float64 { return float64(r.s.Router.Stats().Delivered) }},
		{"kith_messages_kept_total", "Messages stored because nobody was there.", counter, func(r *reading) float64 { return float64(r.s.Router.Stats().Kept) }},
		{"kith_stanzas_bounced_total", "Stanzas sent back with an error.", counter, func(r *reading) float64 { return float64(r.s.Router.Stats().Bounced) }},
		{"kith_lane_items_total", "Items handled by lanes.", counter, func(r *reading) float64 { return float64(r.s.Cluster.Stats().Envelopes) }},
		{"kith_lane_batches_total", "Batches of lanes.", counter, func(r *reading) float64 { return float64(r.s.Cluster.Stats().Batches) }},
		{"kith_lane_queue", "Items waiting in lanes.", gauge, func(r *reading) float64 { return float64(r.s.Cluster.Stats().Queued) }},
		{"kith_actors", "Accounts in memory.", gauge, func(r *reading) float64 { return float64(r.s.Cluster.Stats().Actors) }},
		{"kith_panics_total", "Panics recovered in lanes.", counter, func(r *reading) float64 { return float64(r.s.Cluster.Stats().Panics) }},
		{"kith_store_failures_total", "Commits that failed.", counter, func(r *reading) float64 { return float64(r.s.Cluster.Stats().Failures) }},
		{"kith_store_commits_total", "Transactions committed.", counter, func(r *reading) float64 { return float64(r.s.DB.Stats().Groups) }},
		{"kith_store_rows_total", "Statements committed.", counter, func(r *reading) float64 { return float64(r.s.DB.Stats().Rows) }},
		{"kith_store_commit_seconds_total", "Time spent committing.", counter, func(r *reading) float64 { return r.s.DB.Stats().CommitSum.Seconds() }},
		{"kith_store_queue", "Commits waiting.", gauge, func(r *reading) float64 { return float64(r.s.DB.Stats().Queue) }},
		{"kith_goroutines", "Goroutines.", gauge, func(*reading) float64 { return float64(runtime.NumGoroutine()) }},
		{"kith_heap_bytes", "Memory in use by the heap.", gauge, func(r *reading) float64 { return float64(r.mem.HeapAlloc) }},
		{"kith_gc_seconds_total", "Time for which collections stopped everything.", counter, func(r *reading) float64 { return float64(r.mem.PauseTotalNs) / 1e9 }},
		{"kith_start_time_seconds", "Start of the server, Unix time.", gauge, func(r *reading) float64 { return float64(r.s.Begun.UnixMilli()) / 1e3 }},
	}
}

// hostFigure is a metric that each host has.
type hostFigure struct {
	name, help string
	kind       prometheus.ValueType
	value      func(route.HostStats) int64
}

func hostFigures() []hostFigure {
	return []hostFigure{
		{"kith_host_sessions", "Sessions of a host.", gauge, func(h route.HostStats) int64 { return int64(h.Sessions) }},
		{"kith_host_messages_delivered_total", "Messages to a host that sessions took at once.", counter, func(h route.HostStats) int64 { return h.Delivered }},
		{"kith_host_messages_kept_total", "Messages to a host that were kept because nobody was there.", counter, func(h route.HostStats) int64 { return h.Kept }},
		{"kith_host_messages_bounced_total", "Messages of a host that were sent back with an error.", counter, func(h route.HostStats) int64 { return h.Bounced }},
	}
}

// componentFigure is a metric that each external component has.
type componentFigure struct {
	name, help string
	kind       prometheus.ValueType
	value      func(component.Stats) int64
}

func componentFigures() []componentFigure {
	return []componentFigure{
		{"kith_component_connections", "Streams of a component.", gauge, func(c component.Stats) int64 { return int64(c.Connections) }},
		{"kith_component_queue", "Stanzas that wait for a component.", gauge, func(c component.Stats) int64 { return int64(c.Queued) }},
		{"kith_component_queue_bytes", "Size of the stanzas that wait for a component.", gauge, func(c component.Stats) int64 { return int64(c.QueuedBytes) }},
		{"kith_component_sent_total", "Stanzas written to a component.", counter, func(c component.Stats) int64 { return c.Sent }},
		{"kith_component_received_total", "Stanzas that a component has sent.", counter, func(c component.Stats) int64 { return c.Received }},
		{"kith_component_bounced_total", "Stanzas for a component that were sent back.", counter, func(c component.Stats) int64 { return c.Bounced }},
	}
}

// streams are those with other servers, by what they are like.
func (c collector) streams(ch chan<- prometheus.Metric) {
	type kind struct{ direction, authentication, certificate string }
	n := make(map[kind]int)
	for _, i := range c.s.Servers.List() {
		if i.State != "open" || i.Shared {
			continue
		}
		k := kind{i.Direction, i.Authentication, "valid"}
		switch i.Certificate {
		case "valid":
		case s2s.ByDANE:
			k.certificate = "dane"
		default:
			k.certificate = "invalid" // why, would be a stranger's words
		}
		n[k]++
	}
	d := prometheus.NewDesc("kith_s2s_streams", "Streams with other servers, by who has begun them, how that one is known, and its certificate.",
		[]string{"direction", "authentication", "certificate"}, nil)
	for k, count := range n {
		ch <- prometheus.MustNewConstMetric(d, gauge, float64(count), k.direction, k.authentication, k.certificate)
	}
}

// accountsName is a metric of each host that has to be read from the database.
const accountsName = "kith_host_accounts"

// census is how many accounts there are. Who asks often does not make the database
// count as often.
type census struct {
	mu sync.Mutex // guards what follows
	at time.Time
	by map[string]int
}

// countEvery is how old a count may be.
const countEvery = time.Minute

// accounts returns the number of accounts by host, nil if the database does not
// answer.
func (s *Server) accounts() map[string]int {
	c := &s.census
	c.mu.Lock()
	by, at := c.by, c.at
	c.mu.Unlock()
	if by != nil && time.Since(at) < countEvery {
		return by
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	by, err := s.Accounts.CountByHost(ctx)
	if err != nil {
		s.Log.Warn("accounts not counted", "error", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by, c.at = by, time.Now()
	return by
}

// collector reads the figures when it is asked for them.
type collector struct{ s *Server }

// Describe implements prometheus.Collector. It says nothing beforehand: hosts come
// and go.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	r := &reading{s: c.s, servers: c.s.Servers.Stats()}
	runtime.ReadMemStats(&r.mem)
	c.streams(ch)
	for _, f := range figures() {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(f.name, f.help, nil, nil), f.kind, f.value(r))
	}
	hosts := c.s.Router.HostStats()
	label := []string{"host"}
	for _, f := range hostFigures() {
		d := prometheus.NewDesc(f.name, f.help, label, nil)
		for _, h := range hosts {
			ch <- prometheus.MustNewConstMetric(d, f.kind, float64(f.value(h)), h.Host)
		}
	}
	components := c.s.Components.Stats()
	for _, f := range componentFigures() {
		d := prometheus.NewDesc(f.name, f.help, []string{"component"}, nil)
		for _, st := range components {
			ch <- prometheus.MustNewConstMetric(d, f.kind, float64(f.value(st)), st.Host)
		}
	}
	if by := c.s.accounts(); by != nil {
		d := prometheus.NewDesc(accountsName, "Accounts of a host, at most a minute old.", label, nil)
		for _, h := range hosts {
			ch <- prometheus.MustNewConstMetric(d, gauge, float64(by[h.Host]), h.Host)
		}
	}
}
