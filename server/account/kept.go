package account

import (
	"encoding/json"
	"fmt"
)

// Kept is a slot of resources whose values outlive the server, with sessions
// that wait for their clients. Its values are written as JSON.
type Kept interface {
	// Keep adds the resource's value, if it has one.
	Keep(r *Resource, into map[string]json.RawMessage) error
	// Recall sets the resource's value, if there is one.
	Recall(r *Resource, from map[string]json.RawMessage) error
}

// Keep implements Kept.
func (s Slot[T]) Keep(r *Resource, into map[string]json.RawMessage) error {
	v := r.vals.get(s.name)
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keep %s of %s: %w", *s.name, r.JID, err)
	}
	into[*s.name] = b
	return nil
}

// Recall implements Kept.
func (s Slot[T]) Recall(r *Resource, from map[string]json.RawMessage) error {
	b, ok := from[*s.name]
	if !ok {
		return nil
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("recall %s of %s: %w", *s.name, r.JID, err)
	}
	s.Set(r, v)
	return nil
}
