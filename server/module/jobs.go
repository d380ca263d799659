package module

import (
	"context"
	"time"
)

// Job is work that is done again and again, outside the lanes.
type Job struct {
	Name  string        // for the log
	Every time.Duration // from its end to the next beginning
	// Wake, if it is not nil, has it done at once.
	Wake <-chan struct{}
	// Run does it once. ctx ends with the server; an error is logged.
	Run func(ctx context.Context) error
}

// Every declares work that is done again and again, first a few minutes after
// the start.
func (h *Host) Every(j Job) { h.jobs = append(h.jobs, j) }

// Jobs returns what was declared with Every.
func (h *Host) Jobs() []Job { return h.jobs }
