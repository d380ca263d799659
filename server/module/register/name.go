package register

import (
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// newAddress returns the address of an account to be made, or why it cannot be.
func newAddress(username string, host jid.JID) (jid.JID, error) {
	j, err := jid.New(strings.Clone(username), host.Domain(), "")
	if err != nil || j.Local() == "" {
		return jid.JID{}, stanza.ErrJIDMalformed.With("This name holds characters that a name must not hold, or is too long.")
	}
	return j, nil
}
