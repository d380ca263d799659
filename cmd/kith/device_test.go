package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"kith/client"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
)

// tokens keeps the token of one client.
type tokens struct{ saved negotiate.SavedToken }

func (t *tokens) Load(jid.JID) (negotiate.SavedToken, bool)  { return t.saved, t.saved.Token != "" }
func (t *tokens) Save(_ jid.JID, saved negotiate.SavedToken) { t.saved = saved }
func (t *tokens) Drop(jid.JID)                               { t.saved = negotiate.SavedToken{} }

func installed(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: installed JID PASSWORD")
	}
	dial(ts, neg, args, client.Config{Bind2: true, Tokens: new(tokens), Agent: negotiate.UserAgent{
		ID: "d4565fa7-4d72-4749-b3d3-740edbf87770", Software: "Verona Chat", Device: "balcony",
	}})
}

func revoked(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if device, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(device, "d-") {
			ts.Check(ts.Exec("kith", "session", "revoke", args[0], device))
			return
		}
	}
	ts.Fatalf("the last standard output has no device")
}
