package gateway_test

import (
	"context"
	"os/signal"
	"syscall"

	"kith/gateway"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/disco"
)

// A component that sends back what it is told.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	g := gateway.New(gateway.Config{
		Domain:     jid.MustParse("echo.example.org"),
		Secret:     "the line in the server's secret_file",
		Identities: []disco.Identity{{Category: "client", Type: "bot", Name: "Echo"}},
	})
	g.HandleMessage(func(_ context.Context, st *stanza.Stanza) error {
		if st.Type == stanza.TypeError {
			return nil
		}
		back := st.Copy()
		back.From, back.To = st.To, st.From
		back.Changed()
		return g.Send(back)
	})
	g.Run(ctx) //nolint:errcheck // it ends with ctx
}
