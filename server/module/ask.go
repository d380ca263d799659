package module

import (
	"kith/server/cluster"
	"kith/xmpp/stanza"
)

// Heard takes the answer to what the server has asked somebody: a result, or an
// error, which is ours if the question did not get there or nobody answered in
// time. It runs in the lane of the actor that has asked, like an Item's Handle;
// if the store fails, it may not be called.
type Heard func(t *cluster.Turn, a cluster.Actor, answer *stanza.Stanza)
