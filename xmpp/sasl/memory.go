package sasl

import "sync"

// mostRemembered bounds a Memory: a client has few accounts.
const mostRemembered = 64

// Memory remembers what a client has computed of passwords, so that logging in
// again costs nothing while the server keeps its salt (RFC 5802 §5.1). What it
// holds is worth as much as the passwords. The zero value is empty; it may be used
// by several goroutines.
type Memory struct {
	mu sync.Mutex // guards by
	by map[remembered]derived
}

type remembered struct {
	hash, password, salt string
	iterations           int
}

// derive is that of the hash, computed once. A nil Memory remembers nothing.
func (m *Memory) derive(h algorithm, password string, salt []byte, iterations int) (derived, error) {
	if m == nil {
		return h.derive(password, salt, iterations)
	}
	key := remembered{h.name, password, string(salt), iterations}
	m.mu.Lock()
	d, ok := m.by[key]
	m.mu.Unlock()
	if ok {
		return d, nil
	}
	d, err := h.derive(password, salt, iterations)
	if err != nil {
		return derived{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.by == nil || len(m.by) >= mostRemembered {
		m.by = make(map[remembered]derived)
	}
	m.by[key] = d
	return d, nil
}
