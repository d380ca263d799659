package storage

import (
	"errors"
	"fmt"
	"time"
)

// What a writer waits before it tries to connect again: short, since acks
// wait for it, and doubled up to the second.
const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = time.Second
)

// reconnectTime is how long writers wait for a lost connection to be replaced before they
// are told that it is lost.
const reconnectTime = time.Second

// dialed is the result of an attempt to connect.
type dialed struct {
	conn writer
	err  error
}

var errNoAnswer = errors.New("the database does not answer")

// connect makes sure that there is a write connection. While the store is down it
// tries again only after a growing while, and those who write learn at once that it
// is: a store that does not answer keeps the attempt waiting for long, beside them.
// Only the beginning of an attempt is waited for, the first one for patience.
func (c *committer) connect(patience time.Duration) error {
	if c.conn != nil {
		if !c.conn.broken() && c.conn.alive() {
			return nil
		}
		c.drop()
	}
	if c.down != nil {
		patience = minBackoff
	}
	if c.dialing != nil {
		patience = 0
	} else if c.down != nil && time.Now().Before(c.retry) {
		return c.down
	} else {
		c.dialing = make(chan dialed, 1)
		go func(result chan<- dialed) {
			conn, err := c.store.connect()
			result <- dialed{conn, err}
		}(c.dialing)
	}
	d, ok := c.answer(patience)
	if !ok {
		c.isDown(errNoAnswer)
		return c.down
	}
	c.dialing = nil
	if d.err == nil && !d.conn.alive() { // it has waited for us too long
		d.conn.close()
		d.err = errNoAnswer
	}
	if d.err != nil {
		c.isDown(d.err)
		c.retry = time.Now().Add(c.backoff)
		c.backoff = min(2*c.backoff, maxBackoff)
		return c.down
	}
	if c.down != nil {
		c.log.Info("database is back")
	}
	c.conn, c.down = d.conn, nil
	return nil
}

// answer waits for the end of the attempt to connect.
func (c *committer) answer(patience time.Duration) (d dialed, ok bool) {
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case d = <-c.dialing:
			return d, true
		case <-timer.C:
			return d, false
		}
	}
	select {
	case d = <-c.dialing:
		return d, true
	default:
		return d, false
	}
}

// isDown notes why there is no connection.
func (c *committer) isDown(err error) {
	if c.down == nil {
		if c.started { // else it is the caller of Open who says it
			c.log.Error("database lost", "err", err)
		}
		c.backoff = minBackoff
	} else if errors.Is(err, errNoAnswer) {
		return // what it said last says more
	}
	c.down = wrapped(ErrUnavailable, fmt.Errorf("connect: %w", err))
}

// lost reports whether there is no point in trying the other tasks: the connection
// broke (it is opened anew for the next group), or another process holds the file.
func (c *committer) lost(err error) bool {
	if c.conn != nil && c.conn.broken() {
		c.drop()
	}
	return c.conn == nil || errors.Is(err, errLocked)
}

func (c *committer) drop() {
	c.conn.close()
	c.conn = nil
}
