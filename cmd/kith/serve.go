package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"kith/server"
	"kith/server/config"
	"kith/server/storage"
	"kith/server/web"
)

type serveCmd struct {
	where
	Local bool `help:"Run a server for localhost that only this machine reaches, without configuration."`
}

func (s serveCmd) config() (*config.Config, error) {
	switch {
	case s.Local:
		return config.LoadLocal(s.Data, s.Config)
	case s.Config == "":
		return nil, errors.New("serve: there is no configuration; name one with --config FILE, or try the server on this machine with kith serve --local")
	}
	c, err := config.Load(s.Config)
	if err == nil && s.Data != "" {
		c.SetData(s.Data)
	}
	return c, err
}

// Run runs the server until it is told to stop.
func (s serveCmd) Run() error {
	c, err := s.config()
	if err != nil {
		return err
	}
	raiseFileLimit()
	release, err := web.Claim(c.Data)
	if err != nil {
		return err
	}
	defer release() //nolint:errcheck // it is released at the end of the process at the latest
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	level := new(slog.LevelVar)
	level.Set(c.Log.Level)
	srv, err := server.New(ctx, c, version, logger(c, level))
	switch {
	case errors.Is(err, storage.ErrUnavailable):
		return fmt.Errorf("%w; [storage] in the configuration names the database, %s", err, database(c))
	case err != nil:
		return err
	}
	srv.OnReload(func(c *config.Config) { level.Set(c.Log.Level) })
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-hangup:
				srv.Reload() //nolint:errcheck // the log says what became of it
			case <-done:
				return
			}
		}
	}()
	go adaptProcessors(ctx)
	return srv.Run(ctx, func() { fmt.Print(greeting(c, srv.Fingerprint(), os.Args[0])) })
}

// database tells which one is meant. The URL of a PostgreSQL database may hold a
// password.
func database(c *config.Config) string {
	if url := c.StorageURL(); strings.HasPrefix(url, "sqlite:") {
		return "now " + url
	}
	return "now one of PostgreSQL"
}

func logger(c *config.Config, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// greeting tells a person what exists now and what to do next, with the program
// called as it was.
func greeting(c *config.Config, fingerprint, program string) string {
	var b strings.Builder
	line := func(what, value string) { fmt.Fprintf(&b, "  %-14s %s\n", what, value) }
	var names []string
	for _, h := range c.Hosts {
		names = append(names, h.Domain())
	}
	fmt.Fprintf(&b, "Kith %s serves %s.\n\n", version, strings.Join(names, ", "))
	line("clients", join(c.Listen.Client, " (STARTTLS)"))
	line("", join(c.Listen.ClientTLS, " (direct TLS)"))
	line("servers", join(c.Listen.Server, " (STARTTLS)"))
	line("", join(c.Listen.ServerTLS, " (direct TLS)"))
	if len(c.Component) > 0 {
		line("components", join(c.Listen.Component, ""))
		if len(c.Listen.ComponentTLS) > 0 {
			line("", join(c.Listen.ComponentTLS, " (direct TLS)"))
		}
	}
	if len(c.Listen.Admin) > 0 {
		line("health", "http://"+c.Listen.Admin[0].String()+"/healthz, /readyz, /metrics")
	}
	line("data", c.Data)
	if fingerprint != "" {
		line("certificate", "self-signed, SHA-256 "+fingerprint)
	}
	if c.Local {
		command := fmt.Sprintf("%s account create juliet@%s", program, names[0])
		if c.Data != config.Local("").Data {
			command += " --data " + c.Data
		}
		fmt.Fprintf(&b, "\nMake an account, in a second terminal:\n\n  %s\n\n", command)
		b.WriteString("or with your XMPP client: anybody on this machine may register. Then log in with the client, and\n" +
			"trust the certificate when it asks. Ctrl-C stops the server.\n")
	}
	return b.String()
}

func join(addrs []netip.AddrPort, how string) string {
	if len(addrs) == 0 {
		return "none" + how
	}
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ") + how
}

// raiseFileLimit lets the server have as many connections as the system allows
// it. That it cannot is no reason not to serve.
func raiseFileLimit() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil && l.Cur < l.Max {
		l.Cur = l.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
}
