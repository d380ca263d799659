// Package kith_test holds the house tests: what is true of the tree as a whole. See docs/architecture.md.
package kith_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path that all our imports begin with.
const module = "kith/"

// wing says who may see whom beside the floors: the protocol is everybody's, the server knows no client.
type wing string

const (
	protocol wing = "xmpp"
	server   wing = "server"
	client   wing = "client"
	gateway  wing = "gateway"
	binary   wing = "cmd"
)

// sees lists, for each wing, the wings that it may import from.
func (w wing) sees() []wing {
	return map[wing][]wing{
		protocol: {protocol},
		server:   {protocol, server},
		client:   {protocol, client},
		gateway:  {protocol, client, gateway},
		binary:   {protocol, server, client, gateway, binary},
	}[w]
}

// room is a package with all that is below it, and the floor it is on.
type room struct {
	path  string // "/*" at the end: each folder there is a room of its own
	floor int
	wing  wing
}

// plan is the house of docs/architecture.md, from the ground up. A package may import packages of lower floors, and of
// its own room.
func plan() []room {
	return []room{
		{"xmpp/jid", 1, protocol}, {"xmpp/xmltree", 1, protocol}, {"xmpp/ns", 1, protocol},
		{"xmpp/stanza", 2, protocol}, {"xmpp/sasl", 2, protocol}, {"xmpp/resolve", 2, protocol},
		{"xmpp/stream", 3, protocol}, {"xmpp/xep", 3, protocol}, // one room: forms and result sets are part of other words
		{"xmpp/negotiate", 4, protocol},

		{"server/storage", 5, server}, {"server/config", 5, server}, {"server/limit", 5, server},
		{"server/session", 6, server}, {"server/cluster", 6, server},
		{"server/account", 7, server},
		{"server/roster", 8, server}, {"server/archive", 8, server}, {"server/caps", 8, server},
		{"server/blocklist", 8, server}, {"server/pubsub", 8, server}, {"server/report", 8, server},
		{"server/factor", 8, server}, {"server/delegation", 8, server}, {"server/access", 8, server},
		{"server/module", 9, server},
		{"server/module/*", 10, server},
		{"server/route", 11, server},
		{"server/c2s", 12, server}, {"server/s2s", 12, server}, {"server/component", 12, server},
		{"server/web", 13, server},
		{"server", 14, server},

		{"client", 10, client},
		{"bench", 11, client}, // a client of any server, which the command offers
		{"gateway", 11, gateway},
		{"gateway/*", 12, gateway},
		{"cmd/*", 15, binary},
	}
}

// above are the folders whose packages stand above the house: they may import everything and nobody imports them.
func above() []string { return []string{"xmpptest", "interop"} }

// home returns the room of a package, given its path below the module, and the path of that room.
func home(pkg string) (r room, at string, ok bool) {
	for _, candidate := range plan() {
		at := candidate.path
		if parent, star := strings.CutSuffix(at, "/*"); star {
			rest, below := strings.CutPrefix(pkg, parent+"/")
			if !below {
				continue
			}
			first, _, _ := strings.Cut(rest, "/")
			at = parent + "/" + first
		}
		// "server" is only itself: what is below it has a floor of its own, or none.
		inside := strings.HasPrefix(pkg, at+"/") && at != "server" && at != "gateway" && at != "server/module"
		if pkg == at || inside {
			return candidate, at, true
		}
	}
	return room{}, "", false
}

func under(pkg string, folders []string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return slices.Contains(folders, first)
}

// checkFloors returns what is wrong with the imports of one file. Files of an external test package (package x_test)
// stand above everything, like the folders in above().
func checkFloors(dir string, f *ast.File) []string {
	if strings.HasSuffix(f.Name.Name, "_test") || under(dir, above()) {
		return nil
	}
	here, at, ok := home(dir)
	if !ok {
		return []string{"package " + dir + " has no floor: give it one in arch_test.go and in docs/architecture.md"}
	}
	var wrong []string
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		target, ours := strings.CutPrefix(imported, module)
		if err != nil || !ours {
			continue
		}
		there, atThere, ok := home(target)
		switch {
		case under(target, above()):
			wrong = append(wrong, dir+" imports "+target+", which stands above everything")
		case !ok:
			wrong = append(wrong, dir+" imports "+target+", which has no floor")
		case at == atThere:
		case !slices.Contains(here.wing.sees(), there.wing):
			wrong = append(wrong, dir+" ("+string(here.wing)+") imports "+target+" ("+string(there.wing)+"): the wings do not know each other")
		case there.floor == here.floor:
			wrong = append(wrong, dir+" imports "+target+", its neighbour on floor "+strconv.Itoa(here.floor))
		case there.floor > here.floor:
			wrong = append(wrong, dir+" (floor "+strconv.Itoa(here.floor)+") imports "+target+" (floor "+strconv.Itoa(there.floor)+")")
		}
	}
	return wrong
}

func TestFloors(t *testing.T) {
	for name, src := range sources(t) {
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if path.Dir(name) == "." {
			continue // this package
		}
		for _, msg := range checkFloors(path.Dir(name), f) {
			t.Errorf("%s: %s", name, msg)
		}
	}
}

func TestCheckFloors(t *testing.T) {
	tests := []struct{ dir, pkg, imports, want string }{
		{"xmpp/stanza", "stanza", "xmpp/jid", ""},
		{"xmpp/xep/mam", "mam", "xmpp/xep/rsm", ""},
		{"server/c2s", "c2s", "xmpp/negotiate", ""},
		{"server/storage/storagetest", "storagetest", "server/storage", ""},
		{"server/module/ping", "ping", "server/module", ""},
		{"server/module/muc/internal/x", "x", "server/module/muc", ""},
		{"server/module/ping", "ping_test", "xmpptest", ""},
		{"xmpptest", "xmpptest", "server", ""},
		{"interop/cmd/x", "main", "client", ""},
		{"cmd/kith", "main", "gateway/sms", ""},
		{"cmd/kith", "main", "bench", ""},
		{"bench", "bench", "client", ""},
		{"bench", "bench_test", "xmpptest", ""},
		{"gateway/sms", "sms", "gateway", ""},
		{"xmpp/jid", "jid", "xmpp/ns", "its neighbour on floor 1"},
		{"xmpp/stanza", "stanza", "xmpp/stream", "(floor 3)"},
		{"xmpp/stream", "stream", "server/config", "the wings do not know each other"},
		{"server/module/ping", "ping", "server/module/disco", "its neighbour on floor 10"},
		{"server/module/ping", "ping", "server/route", "(floor 11)"},
		{"server/module/ping", "ping", "server/c2s", "(floor 12)"},
		{"server/module", "module", "server/module/ping", "(floor 10)"},
		{"server/account", "account", "server/roster", "(floor 8)"},
		{"server/c2s", "c2s", "client", "the wings do not know each other"},
		{"client", "client", "server/config", "the wings do not know each other"},
		{"bench", "bench", "server/config", "the wings do not know each other"},
		{"client", "client", "bench", "(floor 11)"},
		{"gateway/sms", "sms", "gateway/irc", "its neighbour"},
		{"server/c2s", "c2s", "xmpptest", "above everything"},
		{"server/util", "util", "xmpp/jid", "has no floor"},
		{"server/c2s", "c2s", "server/util", "has no floor"},
	}
	for _, tt := range tests {
		src := "package " + tt.pkg + "\nimport _ \"kith/" + tt.imports + "\"\nimport _ \"fmt\"\n"
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", src, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(checkFloors(tt.dir, f), "; ")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("package %s in %s imports %s: %q, want %q", tt.pkg, tt.dir, tt.imports, got, tt.want)
		}
	}
}

// sources returns the text of all Go files of this module, by their path.
func sources(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			_, statErr := fs.Stat(root, path.Join(name, "go.mod"))
			other := name != "." && statErr == nil // a module of its own
			if other || name != "." && strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || name == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(base, ".go") {
			text, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			files[name] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
