package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"kith/server/module"
)

// firstJob is how long after the start recurring work begins: the log-ins of those
// who come back go first.
const firstJob = 10 * time.Minute

// jobs do recurring work, a goroutine for each.
type jobs struct {
	wg sync.WaitGroup

	mu     sync.Mutex // guards what follows
	stop   context.CancelFunc
	closed bool
}

// start does the work of these hosts, in the place of what was done before.
func (js *jobs) start(hosts []*module.Host) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.closed {
		return
	}
	if js.stop != nil {
		js.stop()
	}
	var ctx context.Context
	ctx, js.stop = context.WithCancel(context.Background())
	for _, h := range hosts {
		for _, j := range h.Jobs() {
			js.wg.Go(func() { recur(ctx, j, h.Log) })
		}
	}
}

func recur(ctx context.Context, j module.Job, log *slog.Logger) {
	for wait := min(firstJob, j.Every); ; wait = j.Every {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-j.Wake:
		}
		if err := j.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			log.Error("recurring work failed", "work", j.Name, "error", err)
		}
	}
}

// close waits until nothing is done any more.
func (js *jobs) close() {
	js.mu.Lock()
	js.closed = true
	if js.stop != nil {
		js.stop()
	}
	js.mu.Unlock()
	js.wg.Wait()
}
