package bench

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// radio is a phone's connection as its modem sees it. A modem that has had
// something to do stays awake for a while, its tail, and falls asleep then; what
// comes later wakes it up.
type radio struct {
	net.Conn
	tail time.Duration

	mu     sync.Mutex // guards what follows
	last   time.Time  // of the last byte, either way
	inUse  bool       // somebody looks at the phone
	counts airtime
	header []byte // of a TLS record, the part of it that has come
	rest   int    // of the record under way
}

// airtime is what a modem has done.
type airtime struct {
	wakes, pocketed int // times that it was woken by what came, and those while nobody looked
	own             int // times that the phone itself woke it
	reads, records  int // reads that brought something, TLS records
	bytes           int
	pocketedBytes   int           // of these while nobody looked
	awake, dozing   time.Duration // how long it was awake, and that while nobody looked
}

func (a airtime) since(b airtime) airtime {
	return airtime{
		a.wakes - b.wakes, a.pocketed - b.pocketed, a.own - b.own,
		a.reads - b.reads, a.records - b.records, a.bytes - b.bytes, a.pocketedBytes - b.pocketedBytes,
		a.awake - b.awake, a.dozing - b.dozing,
	}
}

// Read implements net.Conn.
func (c *radio) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.heard(time.Now(), p[:n])
		c.mu.Unlock()
	}
	return n, err
}

// Write implements net.Conn.
func (c *radio) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.said(time.Now())
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// heard counts what has come at a time.
func (c *radio) heard(at time.Time, p []byte) {
	a := &c.counts
	if at.Sub(c.last) >= c.tail {
		a.wakes++
		if !c.inUse {
			a.pocketed++
		}
	}
	c.pass(at)
	a.reads++
	a.bytes += len(p)
	if !c.inUse {
		a.pocketedBytes += len(p)
	}
	for len(p) > 0 {
		if c.rest > 0 {
			n := min(c.rest, len(p))
			c.rest -= n
			p = p[n:]
			continue
		}
		// RFC 8446 §5.1: type, version, and two bytes of length. XML, which comes
		// before STARTTLS, has none of the bytes that are types.
		const size, lowest, highest = 5, 20, 24
		if len(c.header) == 0 && (p[0] < lowest || p[0] > highest) {
			p = p[1:]
			continue
		}
		n := min(size-len(c.header), len(p))
		c.header = append(c.header, p[:n]...)
		p = p[n:]
		if len(c.header) == size {
			c.rest = int(binary.BigEndian.Uint16(c.header[3:]))
			c.header = c.header[:0]
			a.records++
		}
	}
}

// said counts what is being sent at a time.
func (c *radio) said(at time.Time) {
	if at.Sub(c.last) >= c.tail {
		c.counts.own++
	}
	c.pass(at)
}

// pass lets time pass up to something: the modem was awake for at most its tail
// of it.
func (c *radio) pass(at time.Time) {
	awake := min(at.Sub(c.last), c.tail)
	c.last = at
	c.counts.awake += awake
	if !c.inUse {
		c.counts.dozing += awake
	}
}

// use says whether somebody looks at the phone.
func (c *radio) use(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inUse = on
}

func (c *radio) read() airtime {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}
