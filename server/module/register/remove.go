package register

import (
	"context"
	"errors"
	"time"

	"kith/server/account"
	"kith/server/module"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

const (
	// graceful is how long the result of a removal has to reach the client: its
	// sessions end with the account.
	graceful = time.Second
	// tries bounds how often a deletion is tried that the store cannot do now.
	tries = 10
)

// remove gives an account up (XEP-0077 §3.2): the client gets its result, then
// the account is deleted, which ends its sessions with not-authorized.
func (r *register) remove(t *module.Transit) (reader, error) {
	children := 0
	for range t.Payload().Children() {
		children++
	}
	switch {
	case children != 1:
		return nil, stanza.ErrBadRequest.With("Nothing else may be asked for together with the removal.")
	case !r.config.Removal:
		return nil, stanza.ErrNotAllowed
	}
	own := t.From.Bare().Clone()
	return func(ctx context.Context) (xmltree.Appender, error) {
		switch st, err := r.host.Accounts.Load(ctx, own, nil); {
		case err != nil:
			return nil, failed(err)
		case st.ID == 0:
			return nil, stanza.ErrRegistrationRequired
		}
		r.deleteLater(own, graceful, tries)
		return nil, nil
	}, nil
}

// deleteLater deletes an account after a while, again and again while the store
// cannot.
func (r *register) deleteLater(own jid.JID, wait time.Duration, left int) {
	time.AfterFunc(wait, func() {
		err := r.host.Accounts.Delete(context.Background(), own)
		switch {
		case err == nil:
			r.host.Log.Info("account removed by its owner", "account", own)
		case errors.Is(err, account.ErrUnknown): // somebody was faster
		case errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrClosed) && left > 1:
			r.deleteLater(own, 2*wait, left-1)
		default:
			r.host.Log.Error("account not removed, which its owner asked for", "account", own, "error", err)
		}
	})
}
