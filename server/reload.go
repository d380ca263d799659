package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/server/config"
	"kith/server/web"
	"kith/xmpp/jid"
)

// OnReload sets what is called when a reload has taken up a configuration.
func (s *Server) OnReload(f func(*config.Config)) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.reloaded = f
}

// Reload reads the configuration and the certificates anew and applies what can be
// applied while streams go on. If anything is wrong with them, everything stays as
// it is, and the error says what. Beside each Host a new one is built, and they
// are swapped; a stream goes by the limits with which it began.
func (s *Server) Reload() (report web.Report, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	defer func() {
		if err != nil {
			s.log.Error("configuration not taken up; nothing has changed", "error", err)
			return
		}
		s.log.Info("configuration taken up", "changed", strings.Join(report.Changed, "; "), "restart", strings.Join(report.Restart, "; "))
	}()
	c := s.config.Load()
	next, changes, err := c.Reload()
	if err != nil {
		return report, err
	}
	hosts, err := s.hosts(next)
	if err != nil {
		return report, err
	}
	old := s.identity.Load()
	id, warnings, err := loadIdentity(next, time.Now())
	if err != nil {
		return report, err
	}
	sources, err := newPeople(next)
	if err != nil {
		return report, err
	}
	s.identity.Store(id)
	s.config.Store(next)
	s.accounts.SetPeople(sources.of)
	s.people.close() // what is under way is finished
	s.people = sources
	s.clients.Configure(next)
	s.router.SetHosts(hosts)
	s.comps.Configure(next)
	s.connect()
	s.servers.Configure(next) // it asks which domains are ours
	s.jobs.start(hosts)
	s.reloaded(next)

	for _, w := range warnings {
		s.log.Warn(w)
	}
	report = web.Report{File: next.File, Changed: []string{}, Restart: []string{}, Warnings: append([]string{}, warnings...)}
	for _, change := range changes {
		switch {
		case change.Key == "hosts":
			report.Changed = append(report.Changed, hostChanges(c.Hosts, next.Hosts)...)
		case change.Key == "component":
			report.Changed = append(report.Changed, componentChanges(c, next)...)
			if s.closed && len(next.Listen.Component)+len(next.Listen.ComponentTLS) > 0 {
				report.Restart = append(report.Restart, "component: there was none at the start, so that neither listen.component nor listen.component_tls is open")
			}
		case change.Restart:
			report.Restart = append(report.Restart, describe(change))
		default:
			report.Changed = append(report.Changed, describe(change))
		}
	}
	report.Changed = append(report.Changed, id.differs(old, next.Hosts)...)
	return report, nil
}

// hostChanges tells of hosts that came and went.
func hostChanges(old, now []jid.JID) (lines []string) {
	for _, h := range now {
		if !slices.Contains(old, h) {
			lines = append(lines, fmt.Sprintf("host %s: added", h))
		}
	}
	for _, h := range old {
		if !slices.Contains(now, h) {
			lines = append(lines, fmt.Sprintf("host %s: removed; its sessions end", h))
		}
	}
	if len(lines) == 0 {
		lines = append(lines, fmt.Sprintf("hosts: %s is the first one now", now[0]))
	}
	return lines
}

// componentChanges tells of components that came, went and changed.
func componentChanges(old, now *config.Config) (lines []string) {
	added, removed, changed := config.ComponentChanges(old, now)
	for _, list := range []struct {
		names []string
		what  string
	}{{added, "added"}, {removed, "removed; its streams end"}, {changed, "changed"}} {
		for _, name := range list.names {
			lines = append(lines, fmt.Sprintf("component %s: %s", name, list.what))
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "component: in another order")
	}
	return lines
}

// describe says what has changed, for a person to read.
func describe(c config.Change) string {
	switch {
	case c.Old == "" && c.New == "":
		return c.Key + ": changed"
	case strings.HasPrefix(c.Key, "limits."):
		return fmt.Sprintf("%s: %s, was %s; for streams that begin now", c.Key, c.New, c.Old)
	}
	return fmt.Sprintf("%s: %s, was %s", c.Key, c.New, c.Old)
}

// lookEvery is how often certificates are looked at without a reload.
const lookEvery = 24 * time.Hour

// watchCertificates takes up certificates that were renewed, and reminds of those
// that were not.
func (s *Server) watchCertificates(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.look()
		case <-ctx.Done():
			return
		}
	}
}

// look reads the files of the certificates anew. If one cannot be used, all stay
// as they are.
func (s *Server) look() {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	c := s.config.Load()
	id, warnings, err := loadIdentity(c, time.Now())
	if err != nil {
		s.log.Error("certificates not taken up; those from before serve on", "error", err)
		return
	}
	for _, w := range warnings {
		s.log.Warn(w)
	}
	for _, line := range id.differs(s.identity.Swap(id), c.Hosts) {
		s.log.Info(line)
	}
}
