// Package delegation keeps what managing entities (XEP-0355) have said that they
// do in the place of hosts and of their accounts. It is asked for when an entity
// connects, and kept while the server runs: that one is away for a moment is no
// reason for clients to learn anew what there is.
package delegation

import (
	"fmt"
	"sync"
	"sync/atomic"

	"kith/xmpp/jid"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xmltree"
)

// Key says whose features they are: those of a namespace that an entity manages
// for a host, of the host itself or of its accounts.
type Key struct {
	Host, Entity jid.JID
	Space        string
	Account      bool
}

// Cache is what was said. There is an entry for each namespace of the
// configuration at most.
type Cache struct {
	version atomic.Uint64

	mu sync.Mutex // guards by
	by map[Key]*disco.Info
}

// New returns an empty cache.
func New() *Cache { return &Cache{by: make(map[Key]*disco.Info)} }

// Set keeps what an entity has said; nil forgets it. info may go back to its owner.
func (c *Cache) Set(k Key, info *disco.Info) error {
	if info != nil {
		el, err := xmltree.Build(info)
		if err == nil {
			info, err = disco.ParseInfo(el)
		}
		if err != nil {
			return fmt.Errorf("keep what %s does for %s: %w", k.Entity, k.Space, err)
		}
	}
	c.mu.Lock()
	if info == nil {
		delete(c.by, k)
	} else {
		c.by[k] = info
	}
	c.mu.Unlock()
	c.version.Add(1)
	return nil
}

// Info returns what an entity has said, nil if that is nothing. It is not to be
// changed.
func (c *Cache) Info(k Key) *disco.Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[k]
}

// Version is another number after each Set.
func (c *Cache) Version() uint64 { return c.version.Load() }
