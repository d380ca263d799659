package blocking_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"

	"kith/server/storage"
	"kith/xmpptest"
)

// fails has the store refuse to keep an address as blocked, in the server's data
// directory. It runs in a synctest bubble.
func fails(t *testing.T, dir, address string) {
	t.Helper()
	db, err := storage.Open(context.Background(), "sqlite:"+filepath.Join(dir, "kith.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Write(context.Background(), func(tx *storage.Tx) error {
		_, err := tx.Exec(`CREATE TRIGGER refuse BEFORE INSERT ON blocklist WHEN new.jid = '` + address + `' BEGIN SELECT raise(ABORT, 'no'); END`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What cannot be stored is told to the one who wanted it and blocks nobody; what
// was sent with it is done, and once.
func TestFailedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := xmpptest.New(t, xmpptest.Config(fmt.Sprintf("data = %q", dir)))
		cs := s.MustBeOnline("juliet@capulet.example/chamber", "romeo@montague.example/orchard", "nurse@capulet.example/house")
		juliet, romeo, nurse := cs[0], cs[1], cs[2]
		fails(t, dir, "nurse@capulet.example")
		juliet.MustSend(`<iq id='b' type='get'><blocklist xmlns='urn:xmpp:blocking'/></iq>` +
			`<presence to='romeo@montague.example/orchard'/><presence to='nurse@capulet.example/house'/>`)
		juliet.Expect(`<iq id='b' type='result' ...>...</iq>`)
		romeo.Expect(`<presence from='juliet@capulet.example/chamber' to='romeo@montague.example/orchard'/>`)
		nurse.Expect(`<presence from='juliet@capulet.example/chamber' to='nurse@capulet.example/house'/>`)
		juliet.MustSend(`<iq id='1' type='set'><block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></block></iq>` +
			`<iq id='2' type='set'><block xmlns='urn:xmpp:blocking'><item jid='nurse@capulet.example'/></block></iq>`)
		juliet.Expect(`<iq id='1' type='result' .../>`)
		juliet.Expect(`<iq type='set' ...><block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></block></iq>`)
		juliet.Expect(`<iq id='2' type='error' ...><error type='cancel'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
		juliet.ExpectNothing()
		romeo.Expect(`<presence from='juliet@capulet.example/chamber' to='romeo@montague.example/orchard' type='unavailable'/>`)
		romeo.ExpectNothing()
		nurse.ExpectNothing()
		nurse.MustSend(`<message to='juliet@capulet.example/chamber'><body>Madam!</body></message>`)
		juliet.Expect(`<message from='nurse@capulet.example/house' ...>...</message>`)
		romeo.MustSend(`<message id='3' to='juliet@capulet.example/chamber'><body>?</body></message>`)
		romeo.Expect(`<message id='3' type='error' ...>...</message>`)
		juliet.ExpectNothing()
	})
}
