package negotiate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

// Names of XEP-0480.
var (
	nameUpgrade = xmltree.Name{Space: ns.Upgrade, Local: "upgrade"}
	nameSalt    = xmltree.Name{Space: ns.SCRAMUp, Local: "salt"}
	nameHash    = xmltree.Name{Space: ns.SCRAMUp, Local: "hash"}
)

// upgradePrefix begins the names of tasks by which a server gets keys for another
// mechanism (XEP-0480 §2.1).
const upgradePrefix = "UPGR-SCRAM-"

// maxUpgrades bounds how many tasks a client may name.
const maxUpgrades = 8

// UpgradeName returns the name of the task that makes keys of a hash, such as
// "SHA-256".
func UpgradeName(hash string) string { return upgradePrefix + hash }

// Upgrader keeps the keys of accounts.
type Upgrader interface {
	// Lacks reports whether an account has a password, and no keys of a hash.
	Lacks(ctx context.Context, username, hash string) (bool, error)
	// Add keeps keys for a hash of which the account has none.
	Add(ctx context.Context, username, hash string, keys sasl.Keys) error
}

// Upgrades returns the tasks by which clients make keys of hashes that their
// accounts lack (XEP-0480 §3). Only who has just proved the password is asked:
// whoever came in otherwise could set one.
func Upgrades(u Upgrader, hashes ...string) TaskFunc {
	return func(ctx context.Context, p Pending) ([]Task, error) {
		m := p.Request.Mechanism
		if m != sasl.Plain && !strings.HasPrefix(m, "SCRAM-") {
			return nil, nil
		}
		for _, h := range hashes {
			name := UpgradeName(h)
			if !slices.Contains(p.Request.Upgrades, name) || slices.Contains(p.Done, name) {
				continue
			}
			lacks, err := u.Lacks(ctx, p.User, h)
			if err != nil {
				return nil, err
			}
			if lacks { // XEP-0480 §2.2: one at a time
				return []Task{&upgradeTask{keeper: u, user: p.User, hash: h, salt: sasl.NewSalt()}}, nil
			}
		}
		return nil, nil
	}
}

// upgradeTask is the server's end.
type upgradeTask struct {
	keeper     Upgrader
	user, hash string
	salt       []byte
}

// Name implements Task.
func (t *upgradeTask) Name() string { return UpgradeName(t.hash) }

// Next implements Task.
func (t *upgradeTask) Next(ctx context.Context, el xmltree.Element) (xmltree.Appender, bool, error) {
	if el.Is(nameNext) {
		return markup(func(w *xmltree.Writer) {
			w.Open(nameSalt)
			w.Attr("iterations", strconv.Itoa(sasl.MinIterations))
			w.Text(base64.StdEncoding.EncodeToString(t.salt))
			w.Close()
		}), false, nil
	}
	salted, err := decode2(el.Child(nameHash).Text())
	if err != nil {
		return nil, false, &sasl.Failure{Condition: sasl.IncorrectEncoding, Err: err}
	}
	keys, err := sasl.KeysOf(t.hash, salted, t.salt, sasl.MinIterations)
	if err != nil {
		return nil, false, &sasl.Failure{Condition: sasl.MalformedRequest, Err: err}
	}
	return nil, true, t.keeper.Add(ctx, t.user, t.hash, keys)
}

// ClientTask is a client's end of a Task.
type ClientTask interface {
	// Start returns what goes into <next/>, nil for nothing.
	Start() xmltree.Appender
	// Next answers a <task-data/>.
	Next(el xmltree.Element) (xmltree.Appender, error)
}

// upgradeClient is the client's end of an upgrade.
type upgradeClient struct{ hash, password string }

var errSalt = errors.New("the server gives no salt")

// Start implements ClientTask.
func (upgradeClient) Start() xmltree.Appender { return nil }

// Next implements ClientTask.
func (c upgradeClient) Next(el xmltree.Element) (xmltree.Appender, error) {
	given := el.Child(nameSalt)
	salt, err := decode2(given.Text())
	if err != nil || !given.Exists() {
		return nil, errors.Join(errSalt, err)
	}
	salted, err := sasl.SaltedPassword(c.hash, c.password, salt, number(given.Attr("iterations")))
	if err != nil {
		return nil, fmt.Errorf("upgrade to SCRAM-%s: %w", c.hash, err)
	}
	return markup(func(w *xmltree.Writer) {
		w.Element(nameHash, base64.StdEncoding.EncodeToString(salted))
	}), nil
}
