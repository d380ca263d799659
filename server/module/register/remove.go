package register

import (
	"context"
	"errors"
	"time"

	"kith/server/account"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

// graceful is how long the result of a removal has to reach the client before
// its sessions end with not-authorized.
const graceful = time.Second

// remove gives an account up (XEP-0077 §3.2): it is gone when the client gets its
// result, and the sessions end a little later.
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
		finish, err := r.host.Accounts.Mark(ctx, own)
		switch {
		case errors.Is(err, account.ErrUnknown):
			return nil, stanza.ErrRegistrationRequired
		case err != nil:
			return nil, failed(err)
		}
		time.AfterFunc(graceful, func() { r.finish(own, finish) })
		return nil, nil
	}, nil
}

// finish deletes what is left of the account.
func (r *register) finish(own jid.JID, finish func(context.Context) error) {
	if err := finish(context.Background()); err != nil {
		r.host.Log.Error("what a removed account left is not deleted yet; the next start goes on", "account", own, "error", err)
		return
	}
	r.host.Log.Info("account removed by its owner", "account", own)
}
