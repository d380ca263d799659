package storage

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A store opens the connections of one database.
type store interface {
	dialect() Dialect
	// connect opens the write connection.
	connect() (writer, error)
	read(ctx context.Context, f func(*Reader) error) error
	readOne(ctx context.Context, f func(*Reader) error) error
	close() error
}

// A writer is the write connection; the committer's goroutine alone uses it.
type writer interface {
	conn
	begin() error
	// apply runs the statements of some batches in the transaction. On failure it
	// tells which batch is at fault.
	apply(batches [][]Op) (failed int, err error)
	commit() error
	rollback() error
	// commitAll is begin, apply and commit, with fewer round trips where the store can. failed is
	// -1 when no batch in particular is at fault.
	commitAll(batches [][]Op) (failed int, err error)
	// script runs several statements that have no arguments.
	script(sql string) error
	// alive tells that the connection can be used, as far as that can be known beforehand.
	alive() bool
	// broken tells that the connection must be opened anew.
	broken() bool
	close()
}

// How often a group is run again without the batch that failed, before its batches
// are committed one by one.
const maxReruns = 8

// A task is one call of Commit, Submit or Write.
type task struct {
	ops  []Op
	done func(error) // Submit
	end  chan error  // Commit and Write: the result

	// Write only. The function runs on the goroutine that called Write, which
	// waits anyway, while the committer waits for it.
	state atomic.Int32 // waiting, taken, cancelled
	turn  chan *Tx     // to the caller: run the function
	ran   chan error   // from the caller: it has run

	rows int64
	err  error // set when the task has failed for good
}

const (
	waiting = iota
	taken
	cancelled
)

type committer struct {
	store store
	log   *slog.Logger

	mu     sync.Mutex // guards queue, closed and counts
	queue  []*task    // without a bound of its own: admission bounds what lanes have under way
	closed bool
	counts Stats

	wake    chan struct{} // the queue is not empty, or closed
	stopped chan struct{}
	idle    sync.Pool // of *task; per database, since a channel belongs to its synctest bubble

	// The committer's goroutine only, once it is started.
	started bool
	conn    writer
	down    error       // why the last attempt to connect failed
	dialing chan dialed // the result of the attempt under way
	retry   time.Time   // when to connect again
	backoff time.Duration
	batches [][]Op  // of the group, reused
	left    []*task // of the group, reused
}

func newCommitter(s store, log *slog.Logger) *committer {
	c := &committer{store: s, log: log, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	c.idle.New = func() any { return &task{end: make(chan error, 1)} }
	return c
}

func (c *committer) start() {
	c.started = true
	go c.run()
}

func (c *committer) commit(ops []Op) error {
	t := c.idle.Get().(*task)
	t.ops = ops
	if err := c.push(t); err != nil {
		return err
	}
	err := <-t.end
	t.ops, t.err, t.rows = nil, nil, 0
	c.idle.Put(t)
	return err
}

func (c *committer) submit(ops []Op, done func(error)) {
	if err := c.push(&task{ops: ops, done: done}); err != nil {
		done(err)
	}
}

func (c *committer) write(ctx context.Context, f func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := &task{end: make(chan error, 1), turn: make(chan *Tx), ran: make(chan error)}
	if err := c.push(t); err != nil {
		return err
	}
	stop := ctx.Done()
	for {
		select {
		case <-stop:
			if t.state.CompareAndSwap(waiting, cancelled) {
				return ctx.Err()
			}
			stop = nil // it has begun: its outcome counts
		case tx := <-t.turn:
			t.runOn(tx, f)
		case err := <-t.end:
			return err
		}
	}
}

var errGoexit = errors.New("the write function ended its goroutine")

// runOn runs the function of a Write; the committer gets its word back even when it
// panics or ends the goroutine (testing.T.FailNow).
func (t *task) runOn(tx *Tx, f func(*Tx) error) {
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
		t.ran <- err
	}()
	err = f(tx)
}

func (c *committer) push(t *task) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	c.queue = append(c.queue, t)
	c.mu.Unlock()
	c.signal()
	return nil
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	<-c.stopped
}

func (c *committer) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.counts
	s.Queue = len(c.queue)
	return s
}

// stragglers is how often the committer lets others run before it takes up the
// first group after a pause. A message is stored by two owners, whose commits
// come a few microseconds apart: together they cost one sync instead of two.
const stragglers = 8

func (c *committer) run() {
	defer close(c.stopped)
	var group []*task
	for {
		c.mu.Lock()
		group, c.queue = c.queue, group[:0]
		closed := c.closed
		c.mu.Unlock()
		if len(group) > 0 {
			c.commitGroup(group)
			clear(group)
			continue
		}
		if closed {
			break
		}
		<-c.wake
		for range stragglers {
			runtime.Gosched()
		}
	}
	if c.conn != nil {
		c.conn.close()
	}
	if c.dialing != nil {
		if d := <-c.dialing; d.err == nil {
			d.conn.close()
		}
	}
}

// commitGroup commits what was queued, as one transaction if it can, and tells everybody.
func (c *committer) commitGroup(queued []*task) {
	begun := time.Now()
	group := queued[:0]
	for _, t := range queued {
		if t.turn == nil || t.state.CompareAndSwap(waiting, taken) {
			group = append(group, t)
		}
	}
	if len(group) == 0 {
		return
	}
	groups, reruns := 0, 0
	if err := c.connect(reconnectTime); err != nil {
		failAll(group, err)
	} else {
		groups, reruns = c.commitTasks(group)
	}
	c.count(group, groups, reruns, time.Since(begun))
	for _, t := range group {
		// A task is its owner's again once its result is out.
		if t.done != nil {
			t.done(t.err)
		} else {
			t.end <- t.err
		}
	}
}

func (c *committer) count(group []*task, groups, reruns int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.counts
	s.Groups += int64(groups)
	s.Rerun += int64(reruns)
	s.CommitSum += took
	s.CommitMax = max(s.CommitMax, took)
	for _, t := range group {
		if t.err != nil {
			s.Failed++
			continue
		}
		s.Batches++
		s.Rows += t.rows
	}
}

// commitTasks sets each task's error and returns the number of transactions that were
// committed and of those that were rolled back.
func (c *committer) commitTasks(group []*task) (groups, reruns int) {
	left := append(c.left[:0], group...)
	defer func(all []*task) {
		clear(all)
		c.left = all[:0]
	}(left)
	for {
		failed, err := c.together(left)
		if err == nil {
			return groups + 1, reruns
		}
		for _, t := range left {
			t.err = nil // who refused may have seen what was rolled back
		}
		if c.lost(err) {
			failAll(left, wrapped(ErrUnavailable, err))
			return groups, reruns
		}
		reruns++
		if len(left) == 1 {
			failed = left[0]
		}
		if failed != nil {
			failed.err = err
			left = slices.DeleteFunc(left, func(t *task) bool { return t == failed })
		}
		if len(left) == 0 {
			return groups, reruns
		}
		// On a full disk small batches and deletions may still find room, but not
		// beside others.
		if failed == nil || reruns > maxReruns || errors.Is(err, ErrUnavailable) {
			break
		}
	}
	for i, t := range left {
		if err := c.alone(t); err == nil {
			groups++
		} else if c.lost(err) {
			failAll(left[i:], wrapped(ErrUnavailable, err))
			break
		} else {
			t.err = err
		}
	}
	return groups, reruns
}

func (c *committer) alone(t *task) error {
	if _, err := c.together([]*task{t}); err != nil {
		return err
	}
	return t.err
}

// together commits the tasks in one transaction or rolls it back. failed is the task
// at fault, nil when it is none in particular.
func (c *committer) together(group []*task) (failed *task, err error) {
	functions := false
	c.batches = c.batches[:0]
	for _, t := range group {
		functions = functions || t.turn != nil
		c.batches = append(c.batches, t.ops)
		t.rows = int64(len(t.ops))
	}
	defer func() { clear(c.batches) }()
	if !functions {
		i, err := c.conn.commitAll(c.batches)
		if err != nil && i >= 0 {
			failed = group[i]
		}
		return failed, err
	}
	if err := c.conn.begin(); err != nil {
		return nil, err
	}
	failed, err = c.inTurn(group)
	if err == nil {
		err = c.conn.commit()
	}
	if err != nil {
		if rerr := c.conn.rollback(); rerr != nil {
			c.drop()
		}
	}
	return failed, err
}

// inTurn runs batches and functions in the order of submission.
func (c *committer) inTurn(group []*task) (failed *task, err error) {
	for i := 0; i < len(group); {
		if group[i].turn != nil {
			if err := c.callFunction(group[i]); err != nil {
				return group[i], err
			}
			i++
			continue
		}
		end := i
		for end < len(group) && group[end].turn == nil {
			end++
		}
		if k, err := c.conn.apply(c.batches[i:end]); err != nil {
			if k >= 0 {
				failed = group[i+k]
			}
			return failed, err
		}
		i = end
	}
	return nil, nil
}

// callFunction runs the function of a Write. Its error is returned when the group must be
// rolled back for it; a function that only read and then refused sets its task's.
func (c *committer) callFunction(t *task) error {
	tx := &Tx{Reader: Reader{ctx: context.Background(), c: c.conn}}
	t.turn <- tx
	err := <-t.ran
	tx.c = nil
	t.rows = tx.ran
	if tx.err != nil {
		return tx.err // also when the function made light of it
	}
	if err != nil && !tx.wrote {
		t.err = err
		return nil
	}
	return err
}

func failAll(group []*task, err error) {
	for _, t := range group {
		t.err = err
	}
}
