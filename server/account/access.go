package account

import (
	"context"
	"fmt"
	"time"

	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
)

// Device is what a list shows of an installation of a client.
type Device struct {
	ID             string
	Software, Name string    // as it calls itself, and the device
	First          time.Time // log-in, or token
	Last           time.Time // log-in, to the hour
	By             Method    // with ByToken if it has a token that is valid
}

// App is what a list shows of an app password.
type App struct {
	ID      int64     `json:"id"` // never another's
	Label   string    `json:"label"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"` // last log-in, to the hour; zero: never
}

// Devices lists the installations that have logged in to an account, who was here
// last first: at most twenty.
func (s *Store) Devices(ctx context.Context, j jid.JID) ([]Device, error) {
	var list []Device
	now := time.Now().UnixMilli()
	err := s.db.Read(ctx, func(r *storage.Reader) error {
		list = nil
		for row, err := range r.Query(`SELECT d.id, d.software, d.name, d.first, d.last, d.methods,
			(SELECT count(*) FROM token t WHERE t.account = d.account AND t.device = d.id AND t.expires > $2)
			FROM device d JOIN account a ON a.id = d.account WHERE a.jid = $1 ORDER BY d.last DESC, d.id`, j.String(), now) {
			if err != nil {
				return err
			}
			var d Device
			var first, last, methods, tokens int64
			if err := row.Scan(&d.ID, &d.Software, &d.Name, &first, &last, &methods, &tokens); err != nil {
				return err
			}
			d.First, d.Last, d.By = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC(), Method(methods)
			if tokens > 0 {
				d.By |= ByToken
			}
			list = append(list, d)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list devices of %s: %w", j, err)
	}
	return list, nil
}

// lasting are the ways of which a device is remembered to have come: a token shows
// by itself, and an app password is listed in its device's place.
const lasting = ByPassword | ByGrant | ByCertificate

// Lasting reports whether it is remembered that an installation has come by these
// means.
func (m *Means) Lasting() bool { return m != nil && m.Device != "" && m.By&lasting != 0 }

// Seen notes that the installation of a session's client has logged in, by what it
// has. Who was here longest ago, those without a token first, is forgotten where an
// account has too many.
func (a *Actor) Seen(t *cluster.Turn, r *Resource) {
	m := r.Means
	if !a.Exists() || !m.Lasting() {
		return
	}
	now := t.Now().UnixMilli()
	t.Write(`INSERT INTO device (account, id, software, name, first, last, methods) VALUES ($1, $2, $3, $4, $5, $5, $6)
		ON CONFLICT (account, id) DO UPDATE SET software = excluded.software, name = excluded.name, last = excluded.last,
		methods = device.methods | excluded.methods
		WHERE device.last < $7 OR device.methods <> device.methods | excluded.methods OR device.software <> excluded.software OR device.name <> excluded.name`,
		a.ID(), m.Device, m.Software, m.Name, now, int64(m.By&lasting), now-lastWithin.Milliseconds())
	t.Write(crowdedOut, a.ID(), mostDevices)
}

// crowdedOut forgets the devices beyond what an account may have.
const crowdedOut = `DELETE FROM device WHERE account = $1 AND id NOT IN (SELECT d.id FROM device d WHERE d.account = $1
	ORDER BY (SELECT min(t.account) FROM token t WHERE t.account = d.account AND t.device = d.id) IS NULL, d.last DESC, d.id LIMIT $2)`

// ForgetDevices forgets what is known of devices that were not here since then and
// have no token that is valid, so many at once at most, and tokens of which nobody
// has to be told any more that they have expired. It reports whether there may be
// more.
func (s *Store) ForgetDevices(ctx context.Context, since time.Time, most int) (more bool, err error) {
	now := time.Now()
	err = s.db.Write(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(`DELETE FROM token WHERE (account, device, fresh) IN (SELECT account, device, fresh FROM token WHERE expires < $1 LIMIT $2)`,
			now.Add(-tokenLife).UnixMilli(), most)
		if err != nil {
			return err
		}
		m, err := tx.Exec(`DELETE FROM device WHERE (account, id) IN (SELECT d.account, d.id FROM device d WHERE d.last < $1
			AND NOT EXISTS (SELECT 1 FROM token t WHERE t.account = d.account AND t.device = d.id AND t.expires > $3) LIMIT $2)`,
			since.UnixMilli(), most, now.UnixMilli())
		more = n == int64(most) || m == int64(most)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("forget devices: %w", err)
	}
	return more, nil
}

// OnWithdrawal sets what is called after an access to an account was taken away,
// with the session that has asked for it; "" for none.
func (s *Store) OnWithdrawal(f func(j jid.JID, what []Access, but session.ID)) {
	s.mu.Lock()
	s.withdrawn = f
	s.mu.Unlock()
}

// Withdraw takes accesses to an account away: change, which may be nil, does so in
// the store. Log-ins by them that are under way come to nothing, and their sessions
// end, but for one, which may be "".
func (s *Store) Withdraw(ctx context.Context, j jid.JID, but session.ID, change func(*storage.Tx) error, what ...Access) error {
	done := s.revoke(j, what...)
	var err error
	if change != nil {
		err = s.db.Write(ctx, change)
	}
	done()
	if err != nil {
		return err
	}
	s.mu.RLock()
	f := s.withdrawn
	s.mu.RUnlock()
	f(j, what, but)
	return nil
}

// WithdrawDevice makes the tokens of an installation void, and ends its sessions,
// but for one, which may be "". That it was here is remembered if it knows the
// password: it has access for as long as that is not changed.
func (s *Store) WithdrawDevice(ctx context.Context, j jid.JID, device string, but session.ID) error {
	err := s.Withdraw(ctx, j, but, func(tx *storage.Tx) error {
		_, err := forgetTokens(tx, j, device)
		return err
	}, OfDevice(device))
	if err != nil {
		return fmt.Errorf("revoke a device of %s: %w", j, err)
	}
	return nil
}
