// Package caps knows what devices can do: XEP-0115, Entity Capabilities.
//
// A device claims something; what that means it is asked once, or another device
// that claims the same. Only an answer that was verified is kept for all who claim
// it, in memory and in the store. Any other answer is valid for the device that
// gave it, and is forgotten with it.
//
// What is known of a device belongs to its account's lane. It changes in effects
// only, for what was asked is asked once. The Cache belongs to nobody; its mutex is
// held for a few assignments.
package caps

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/cluster"
	"kith/server/session"
	"kith/xmpp/stream"
	"kith/xmpp/xep/caps"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
)

// Known is what is known of a device. It does not change.
type Known struct {
	Identities []disco.Identity
	Features   []string // sorted
}

// Has reports whether a feature is among what is known; of nothing known, false.
func (k *Known) Has(feature string) bool {
	if k == nil {
		return false
	}
	_, found := slices.BinarySearch(k.Features, feature)
	return found
}

// size is about how many bytes it holds.
func (k *Known) size() int {
	n := 200
	for _, i := range k.Identities {
		n += 64 + len(i.Category) + len(i.Type) + len(i.Lang) + len(i.Name)
	}
	for _, f := range k.Features {
		n += 16 + len(f)
	}
	return n
}

// newKnown copies what it keeps of an answer.
func newKnown(info *disco.Info) *Known {
	k := &Known{Identities: slices.Clone(info.Identities), Features: slices.Clone(info.Features)}
	for n, i := range k.Identities {
		k.Identities[n] = disco.Identity{
			Category: strings.Clone(i.Category), Type: strings.Clone(i.Type), Lang: strings.Clone(i.Lang), Name: strings.Clone(i.Name),
		}
	}
	for n, f := range k.Features {
		k.Features[n] = strings.Clone(f)
	}
	slices.Sort(k.Features)
	k.Features = slices.Compact(k.Features)
	return k
}

// What an answer may consist of. Clients have about 5 identities, 150 features and
// a form.
const (
	maxIdentities = 32
	maxFeatures   = 1000
	maxFields     = 200 // of all forms, and their values
	maxBytes      = 32 << 10
)

// fits reports whether an answer is within the limits.
func fits(info *disco.Info) bool {
	bytes, fields := 0, 0
	for _, i := range info.Identities {
		bytes += len(i.Category) + len(i.Type) + len(i.Lang) + len(i.Name)
	}
	for _, f := range info.Features {
		bytes += len(f)
	}
	for _, x := range info.Forms {
		fields++
		f, ok := x.(*form.Form)
		if !ok {
			return false
		}
		for _, field := range f.Fields {
			fields += 1 + len(field.Values)
			bytes += len(field.Var)
			for _, v := range field.Values {
				bytes += len(v)
			}
		}
	}
	return len(info.Identities) <= maxIdentities && len(info.Features) <= maxFeatures && fields <= maxFields && bytes <= maxBytes
}

// How often a session may make the server ask: so often at once, and once more
// each time such a while has passed.
const (
	asksAtOnce = 10
	askAgain   = 10 * time.Minute
)

// device is what there is of one session.
type device struct {
	claim   caps.Caps
	known   *Known
	asked   string // the id of the question that waits for an answer; "" if there is none
	waiting bool   // for the answer of another device
	asks    int    // left, at the time since
	since   time.Time
}

var slot = account.NewSlot[*device]("capabilities")

// Kept is what a resource keeps while the server is not running. A question may
// be answered after that too; who has waited for another forgets its claim.
func Kept() account.Kept { return slot }

type kept struct {
	Claim caps.Caps
	Known *Known
	Asked string
	Asks  int
	Since time.Time
}

// MarshalJSON implements json.Marshaler.
func (d *device) MarshalJSON() ([]byte, error) {
	k := kept{Claim: d.claim, Known: d.known, Asked: d.asked, Asks: d.asks, Since: d.since}
	if d.waiting {
		k.Claim = caps.Caps{}
	}
	return json.Marshal(k)
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *device) UnmarshalJSON(b []byte) error {
	var k kept
	err := json.Unmarshal(b, &k)
	*d = device{claim: k.Claim, known: k.Known, asked: k.Asked, asks: k.Asks, since: k.Since}
	return err
}

// Of returns what is known of a device; nil is nothing. While a new claim is being
// looked into it is what was known before.
func Of(r *account.Resource) *Known {
	if d := slot.Get(r); d != nil {
		return d.known
	}
	return nil
}

// Next is what there is to do.
type Next struct {
	Changed bool          // what is known is something else now
	Was     *Known        // before that
	Ask     string        // the device is to be asked, with this id; "" if not
	Claim   caps.Caps     // what it is to be asked about
	Wait    time.Duration // if not 0, the Waiter's Retry is to be sent after this time; it may be woken before
	Wake    []Waiter      // who is to Retry now
	Save    *Save         // what is to be stored; may be nil
}

// Waiter is a device that may have to wait for what another will answer.
type Waiter struct {
	Key     cluster.Key // of its account
	Session session.ID
	Retry   cluster.Item // is sent there, and calls Retry
}

// Claim takes down what a device claims; the zero value that it claims nothing
// any more.
func (c *Cache) Claim(w Waiter, r *account.Resource, claim caps.Caps, now time.Time) Next {
	d := slot.Get(r)
	if d == nil {
		if claim == (caps.Caps{}) {
			return Next{}
		}
		d = &device{asks: asksAtOnce, since: now}
		slot.Set(r, d)
	}
	if claim == d.claim {
		return Next{}
	}
	d.claim = caps.Caps{Hash: strings.Clone(claim.Hash), Node: strings.Clone(claim.Node), Ver: strings.Clone(claim.Ver)}
	d.asked, d.waiting = "", false
	if claim == (caps.Caps{}) {
		return d.learn(nil)
	}
	if n, hit := c.hit(d, now); hit {
		return n
	}
	if !d.may(now) {
		return d.learn(nil)
	}
	return c.ask(w, d, now, true)
}

// Retry looks again for what a device has waited for, and if it is still not known
// has the device asked.
func (c *Cache) Retry(w Waiter, r *account.Resource, now time.Time) Next {
	d := slot.Get(r)
	if d == nil || !d.waiting {
		return Next{}
	}
	d.waiting = false
	if n, hit := c.hit(d, now); hit {
		return n
	}
	return c.ask(w, d, now, false)
}

// hit looks for the claim in the cache.
func (c *Cache) hit(d *device, now time.Time) (Next, bool) {
	k, save := c.get(d.claim, now)
	if k == nil {
		return Next{}, false
	}
	n := d.learn(k)
	n.Save = save
	return n, true
}

// ask has the device asked, unless another is being asked the same and it may
// wait for that.
func (c *Cache) ask(w Waiter, d *device, now time.Time, mayWait bool) Next {
	if d.claim.Verifiable() && !c.begin(d.claim, w, now, mayWait) {
		d.waiting = true
		return Next{Wait: patience}
	}
	d.asked = stream.NewID()
	return Next{Ask: d.asked, Claim: d.claim}
}

// may counts a question.
func (d *device) may(now time.Time) bool {
	if more := int(now.Sub(d.since) / askAgain); more > 0 {
		d.asks = min(asksAtOnce, d.asks+more)
		d.since = d.since.Add(time.Duration(more) * askAgain)
	}
	if d.asks == 0 {
		return false
	}
	d.asks--
	return true
}

func (d *device) learn(k *Known) Next {
	n := Next{Changed: k != d.known, Was: d.known}
	d.known = k
	return n
}

// Asked reports whether a device was asked something with that id and has not
// answered yet.
func Asked(r *account.Resource, id string) bool {
	d := slot.Get(r)
	return d != nil && d.asked != "" && d.asked == id
}

// Answer takes down what a device answers to the question of that id; nil is an
// answer of no use.
func (c *Cache) Answer(r *account.Resource, id string, info *disco.Info, now time.Time) Next {
	if !Asked(r, id) {
		return Next{}
	}
	d := slot.Get(r)
	d.asked = ""
	claim, verified := d.claim, false
	var k *Known
	if info != nil && fits(info) {
		k, verified = judge(claim, info)
	}
	var save *Save
	if verified {
		k, save = c.put(claim, k, now)
	}
	n := d.learn(k)
	n.Save, n.Wake = save, c.end(claim, r.ID, verified)
	return n
}

// judge says what an answer is good for: for nothing if it is ill-formed (XEP-0115
// §5.4), for all if it is verified, else for the one who gave it.
func judge(claim caps.Caps, info *disco.Info) (k *Known, verified bool) {
	if !claim.Verifiable() {
		return newKnown(info), false
	}
	err := claim.Verify(info)
	if errors.Is(err, caps.ErrIllFormed) {
		return nil, false
	}
	return newKnown(info), err == nil
}
