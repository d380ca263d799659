package archive

import (
	"context"
	"fmt"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/storage"
)

// OfflineFor is how long a message waits for somebody to take it.
const OfflineFor = 30 * 24 * time.Hour

// Policy says how much of an archive is kept.
type Policy struct {
	Age   time.Duration // 0: however old
	Bytes int64         // of stanzas; 0: however many
}

// waits is how long a message waits for delivery.
func (p Policy) waits() time.Duration {
	if p.Age > 0 {
		return min(p.Age, OfflineFor)
	}
	return OfflineFor
}

// The statements of deletion, for a bounded number of rows each.
const (
	chunk = 500

	noteFloor = `INSERT INTO archive (owner, floor, prefs) VALUES ($1, $2, '') ON CONFLICT (owner) DO UPDATE
		SET floor = CASE WHEN excluded.floor > archive.floor THEN excluded.floor ELSE archive.floor END`
	deleteUpTo = `DELETE FROM message WHERE owner = $1 AND id IN
		(SELECT id FROM message WHERE owner = $1 AND id <= $2 ORDER BY id LIMIT $3)`
	expireTransit = `DELETE FROM message WHERE owner = $1 AND transit AND id IN
		(SELECT id FROM offline WHERE owner = $1 AND id <= $2 ORDER BY id LIMIT $3)`
	expireMarks = `DELETE FROM offline WHERE owner = $1 AND id IN
		(SELECT id FROM offline WHERE owner = $1 AND id <= $2 ORDER BY id LIMIT $3)`
)

// Trim deletes all messages up to one, as far as anybody can see. Sweep deletes
// the rows.
func Trim(t *cluster.Turn, a *account.Actor, upTo int64) {
	if upTo <= floor.Durable(a) {
		return
	}
	floor.SetDurable(a, upTo)
	t.Write(noteFloor, a.ID(), upTo)
	t.Write(`DELETE FROM offline WHERE owner = $1 AND id <= $2`, a.ID(), upTo)
}

// NextOwner returns the owner with the smallest number behind another that keeps
// messages, 0 if there is none.
func NextOwner(ctx context.Context, db *storage.DB, behind int64) (owner int64, err error) {
	err = db.Read(ctx, func(r *storage.Reader) error {
		return r.QueryRow(`SELECT coalesce(min(owner), 0) FROM message WHERE owner > $1`, behind).Scan(&owner)
	})
	return owner, err
}

// Sweep deletes what need not be kept of an archive: the oldest messages, so that
// there are no holes (XEP-0313 §3.1.2), and marks that have waited too long. What
// waits for delivery within its time stays, and all that is newer. pause is called
// between two pieces; its error ends the work, which can go on later. Sweep runs
// outside the lane.
func (p Policy) Sweep(ctx context.Context, db *storage.DB, owner int64, now time.Time, pause func() error) (deleted int64, err error) {
	marks := max(now.Add(-p.waits()).UnixMilli(), 0) << counterBits
	var cut int64
	err = db.Read(ctx, func(r *storage.Reader) (err error) {
		cut, err = p.cut(r, owner, now, marks)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("see what to keep of archive %d: %w", owner, err)
	}
	err = pieces(pause, func() (n int64, err error) {
		err = db.Write(ctx, func(tx *storage.Tx) error {
			if _, err := tx.Exec(expireTransit, owner, marks, chunk); err != nil {
				return err
			}
			n, err = tx.Exec(expireMarks, owner, marks, chunk)
			return err
		})
		return n, err
	})
	if err == nil {
		err = pieces(pause, func() (n int64, err error) {
			err = db.Write(ctx, func(tx *storage.Tx) error {
				if n, err = tx.Exec(deleteUpTo, owner, cut, chunk); err != nil || n == 0 {
					return err
				}
				_, err = tx.Exec(noteFloor, owner, cut)
				return err
			})
			deleted += n
			return n, err
		})
	}
	if err != nil {
		return deleted, fmt.Errorf("trim archive %d: %w", owner, err)
	}
	return deleted, nil
}

// pieces deletes until nothing is left.
func pieces(pause func() error, del func() (int64, error)) error {
	for {
		n, err := del()
		if err != nil || n < chunk {
			return err
		}
		if err := pause(); err != nil {
			return err
		}
	}
}

// cut returns up to which id messages are to be deleted.
func (p Policy) cut(r *storage.Reader, owner int64, now time.Time, marks int64) (int64, error) {
	var floor, cut, waiting int64
	err := r.QueryRow(`SELECT coalesce((SELECT floor FROM archive WHERE owner = $1), 0),
		coalesce((SELECT min(id) FROM offline WHERE owner = $1 AND id > $2), 0)`, owner, marks).Scan(&floor, &waiting)
	if err != nil {
		return 0, err
	}
	if p.Age > 0 {
		cut = max(now.Add(-p.Age).UnixMilli(), 0) << counterBits
	}
	if p.Bytes > 0 {
		over, err := p.over(r, owner)
		if err != nil {
			return 0, err
		}
		cut = max(cut, over)
	}
	if waiting > 0 {
		cut = min(cut, waiting-1)
	}
	return max(cut, floor), nil
}

// over returns up to which id messages have to go for the others to be few
// enough.
func (p Policy) over(r *storage.Reader, owner int64) (cut int64, err error) {
	var bytes int64
	if err := r.QueryRow(`SELECT CAST(coalesce(sum(size), 0) AS bigint) FROM message WHERE owner = $1 AND NOT transit`, owner).Scan(&bytes); err != nil {
		return 0, err
	}
	if bytes <= p.Bytes {
		return 0, nil
	}
	for row, err := range r.Query(`SELECT id, size FROM message WHERE owner = $1 AND NOT transit ORDER BY id`, owner) {
		if err != nil {
			return 0, err
		}
		var size int64
		if err := row.Scan(&cut, &size); err != nil {
			return 0, err
		}
		if bytes -= size; bytes <= p.Bytes {
			break
		}
	}
	return cut, nil
}
