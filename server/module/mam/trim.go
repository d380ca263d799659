package mam

import (
	"context"
	"errors"
	"time"

	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/module"
	"kith/xmpp/stanza"
	xmam "kith/xmpp/xep/mam"
	"kith/xmpp/xmltree"
)

// trim deletes messages up to one. From the commit on nobody sees them; the rows
// follow, piece by piece.
func (m *archives) trim(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := owned(t); err != nil {
		return nil, err
	}
	words, err := xmam.ParseTrim(t.Payload())
	if err != nil {
		return nil, stanza.ErrBadRequest
	}
	owner, upTo := t.Account.ID(), archive.Last(t.Account)
	if words.ID != "" {
		id, ok := m.ids.Parse(owner, words.ID)
		if !ok || id > upTo {
			return nil, stanza.ErrItemNotFound
		}
		upTo = id // if it is not there any more, all before it has gone too
	}
	archive.Trim(t.Turn, t.Account, upTo)
	key := t.Turn.Key()
	t.Turn.Query(new(cluster.Asker), key, func(ctx context.Context) func() {
		left := soon
		m.note(m.sweepOne(ctx, owner, func() error {
			if left--; left == 0 {
				return errEnough
			}
			return nil
		}))
		return func() {}
	}, func(error) {}) // the panic is in the log
	return nil, nil
}

const (
	// soon is how many pieces are deleted at once; the rest is deleted overnight.
	soon = 100
	// pace is the pause between two pieces in the background.
	pace = 20 * time.Millisecond
)

var errEnough = errors.New("enough for now")

// note logs an error unless it is none.
func (m *archives) note(err error) {
	if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, context.Canceled) {
		m.host.Log.Error("archive not trimmed; it will be tried again", "error", err)
	}
}

func (m *archives) sweepOne(ctx context.Context, owner int64, pause func() error) error {
	p := archive.Policy{Age: m.config.Keep, Bytes: int64(m.config.Size)}
	_, err := p.Sweep(ctx, m.host.DB, owner, time.Now(), pause)
	return err
}

// sweep deletes what need not be kept of all archives, slowly. One that cannot be
// trimmed does not keep the others from it.
func (m *archives) sweep(ctx context.Context) error {
	pause := func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pace):
			return nil
		}
	}
	for owner := int64(0); ; {
		var err error
		if owner, err = archive.NextOwner(ctx, m.host.DB, owner); err != nil || owner == 0 {
			return err
		}
		m.note(m.sweepOne(ctx, owner, pause))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
