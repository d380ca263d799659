package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"kith/server/config"
	"kith/server/module"
	"kith/server/web"

	kith "kith/server"
)

// directory returns the data directory of the server that is meant: the one
// named, that of the configuration, or the one of serve --local here.
func (w where) directory() (string, error) {
	switch {
	case w.Data != "":
		return w.Data, nil
	case w.Config == "":
		return config.Local("").Data, nil
	}
	c, err := config.Load(w.Config)
	if errs, ok := errors.AsType[config.Errors](err); ok && len(errs) == 1 && errs[0].Key == "hosts" && errs[0].Line == 0 {
		c, err = config.LoadLocal("", w.Config) // a file without hosts is one for serve --local
	}
	if err != nil {
		return "", err
	}
	return c.Data, nil
}

// do asks the running server.
func (w where) do(method, path string, body, answer any) error {
	dir, err := w.directory()
	if err != nil {
		return err
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", web.Socket(dir))
		}}}
	defer client.CloseIdleConnections()
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://kith"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("ask the server: none is running on the data directory %s; start it, or name another directory with --data or --config", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask the server: the data directory %s is closed to you; run the command as the user that runs the server", dir)
	case errors.Is(err, syscall.EINVAL): // what Unix says of a path of more than about a hundred bytes
		return fmt.Errorf("ask the server: the path %s is too long for a socket; go to its directory and name it from there", web.Socket(dir))
	case err != nil:
		return fmt.Errorf("ask the server: %w; its log may say why", cause(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var p web.Problem
		if b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20)); err != nil || json.Unmarshal(b, &p) != nil {
			return fmt.Errorf("ask the server: %s; is it of the same version as this command?", res.Status)
		}
		return errors.New(p.Error)
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("read the server's answer: %w; is it of the same version as this command?", err)
	}
	return nil
}

// cause returns why a request failed without the URL, which says nothing to a
// person.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func (w where) get(path string, answer any) error { return w.do(http.MethodGet, path, nil, answer) }

func (w where) post(path string, body any) error { return w.do(http.MethodPost, path, body, nil) }

type reloadCmd struct {
	where
	JSON bool `name:"json" help:"As JSON."`
}

// Run has the server take up its configuration, and shows what that changed.
func (c reloadCmd) Run() error {
	var r web.Report
	if err := c.do(http.MethodPost, "/reload", struct{}{}, &r); err != nil {
		return fmt.Errorf("%w\nreload: nothing has changed", err)
	}
	if c.JSON {
		return printJSON(r)
	}
	for _, line := range r.Changed {
		fmt.Println(line)
	}
	for _, line := range r.Restart {
		fmt.Println(line, "(needs a restart)")
	}
	for _, line := range r.Warnings {
		fmt.Println("warning:", line)
	}
	switch {
	case len(r.Changed)+len(r.Restart) > 0:
	case r.File == "":
		fmt.Println("nothing has changed; the server was started without a configuration file")
	default:
		fmt.Println("nothing has changed in", r.File)
	}
	return nil
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type statusCmd struct {
	where
	JSON bool `name:"json" help:"As JSON."`
}

// Run shows the status; exit status 1 if the server is not well.
func (c statusCmd) Run() error {
	var s web.Status
	if err := c.get("/status", &s); err != nil {
		return err
	}
	if c.JSON {
		return errors.Join(printJSON(s), unwell(s))
	}
	line := func(what string, format string, args ...any) {
		fmt.Printf("%-10s "+format+"\n", append([]any{what}, args...)...)
	}
	var hosts []string
	for _, h := range s.Hosts {
		hosts = append(hosts, h.Host)
	}
	line("version", "%s, up %s", s.Version, time.Since(s.Begun).Round(time.Second))
	line("hosts", "%s", strings.Join(hosts, ", "))
	line("accounts", "%d", s.Accounts)
	line("sessions", "%d (%d streams, %d of them before log-in)", s.Sessions, s.Streams, s.Waiting)
	line("stanzas", "%d delivered, %d bounced", s.Delivered, s.Bounced)
	line("database", "%s, %d commits, %.2f ms each", s.Database, s.Commits, s.CommitMean)
	line("memory", "%d MiB in use, %d MiB from the system", s.Heap>>20, s.Memory>>20)
	if s.Panics > 0 {
		line("panics", "%d; please report them, the log has them", s.Panics)
	}
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "host\taccounts\tsessions\tdelivered\tkept\tbounced\twaiting")
	for _, h := range s.Hosts {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", h.Host, h.Accounts, h.Sessions, h.Delivered, h.Kept, h.Bounced, h.Waiting)
	}
	if len(s.Components) > 0 {
		fmt.Fprintln(t, "\ncomponent\tconnections\tsent\treceived\tbounced\tqueued")
		for _, c := range s.Components {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\n", c.Host, c.Connections, c.Sent, c.Received, c.Bounced, c.Queued)
		}
	}
	return errors.Join(t.Flush(), unwell(s))
}

func unwell(s web.Status) error {
	if s.Healthy {
		return nil
	}
	return fmt.Errorf("the server is not well: %s; its log says more", s.Problem)
}

type xepsCmd struct{}

// Run prints the table.
func (xepsCmd) Run() error {
	fmt.Print(module.Table(kith.Modules(), kith.StreamSpecs()))
	return nil
}
