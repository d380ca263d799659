package kith_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// file is one Go file: what a check looks at.
type file struct {
	name string // path below the root
	src  string
	fset *token.FileSet
	ast  *ast.File
}

// checks are the rules of CONTRIBUTING.md that hold for each file by itself.
func checks() map[string]func(file) []string {
	return map[string]func(file) []string{
		"init":         checkInit,
		"encoding/xml": checkEncodingXML,
		"built XML":    checkBuiltXML,
		"built SQL":    checkBuiltSQL,
		"length":       checkLength,
		"sleep":        checkSleep,
		"math/rand":    checkRand,
	}
}

func (f file) test() bool { return strings.HasSuffix(f.name, "_test.go") }

// generated is the mark that go help generate asks for.
func (f file) generated() bool {
	return regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`).MatchString(f.src)
}

func (f file) at(n ast.Node, msg string) string {
	return f.name + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line) + ": " + msg
}

func (f file) imports(names ...string) *ast.ImportSpec {
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && slices.Contains(names, p) {
			return spec
		}
	}
	return nil
}

func parse(t *testing.T, name, src string) file {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return file{name, src, fset, tree}
}

// TestHouse runs the checks over all files.
func TestHouse(t *testing.T) {
	packages := map[string][]file{}
	for name, src := range sources(t) {
		f := parse(t, name, src)
		packages[path.Dir(name)] = append(packages[path.Dir(name)], f)
		for rule, check := range checks() {
			for _, msg := range check(f) {
				t.Errorf("%s: %s", rule, msg)
			}
		}
	}
	for dir, files := range packages {
		slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
		for _, msg := range slices.Concat(checkPackageComment(dir, files), checkState(files)) {
			t.Error(msg)
		}
		if path.Dir(dir) == "server/module" {
			scenarios, err := filepath.Glob(filepath.Join(dir, "testdata", "*.xmpp"))
			if err != nil {
				t.Fatal(err)
			}
			for _, msg := range checkModule(dir, files, scenarios) {
				t.Error(msg)
			}
		}
	}
}

func checkInit(f file) []string {
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			return []string{f.at(fn, "no init(): what a thing needs is given to it when it is made")}
		}
	}
	return nil
}

// checkEncodingXML: encoding/xml accepts what RFC 6120 §11 forbids, and costs ten times as much.
func checkEncodingXML(f file) []string {
	if spec := f.imports("encoding/xml"); spec != nil && !f.test() && !under(f.name, []string{"interop"}) {
		return []string{f.at(spec, "no encoding/xml outside tests: use xmpp/xmltree")}
	}
	return nil
}

// checkRand: what a stranger must not guess comes from crypto/rand, and who reads rand.N cannot see which it is.
func checkRand(f file) []string {
	if spec := f.imports("math/rand", "math/rand/v2"); spec != nil && !f.test() && !under(f.name, []string{"interop"}) {
		return []string{f.at(spec, "no math/rand outside tests: use crypto/rand")}
	}
	return nil
}

func checkLength(f file) []string {
	const most = 500
	if n := strings.Count(f.src, "\n"); n > most && !f.generated() {
		return []string{f.name + ": " + strconv.Itoa(n) + " lines, at most " + strconv.Itoa(most) + ": divide it by what one looks for"}
	}
	return nil
}

// checkSleep: time is virtual in a bubble of synctest; elsewhere a sleep is a guess. It is in a bubble if it is inside the
// call of synctest.Test, or in a function whose comment speaks of synctest. Where nothing else will do, a comment on the
// line or the function says what real thing is waited for.
func checkSleep(f file) []string {
	if !f.test() || under(f.name, []string{"interop"}) {
		return nil
	}
	reason := regexp.MustCompile(`\b(synctest|real)\b`)
	reasons := map[int]bool{}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			reasons[f.fset.Position(c.Pos()).Line] = reason.MatchString(c.Text)
		}
	}
	var wrong []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			return !reason.MatchString(n.Doc.Text())
		case *ast.CallExpr:
			if selector(n.Fun) == "time.Sleep" && !reasons[f.fset.Position(n.Pos()).Line] {
				wrong = append(wrong, f.at(n, "no time.Sleep in a test outside synctest.Test"))
			}
			return selector(n.Fun) != "synctest.Test"
		}
		return true
	})
	return wrong
}

// selector returns "pkg.Name" for that expression, else "".
func selector(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
	}
	return ""
}

// text returns the strings that a literal, or literals joined by +, begin with.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	case *ast.ParenExpr:
		return text(e.X)
	}
	return ""
}

// built finds strings that a program puts together: formatted ones and sums of which not all is literal. match looks at
// the literal part.
func built(f file, match func(string) bool, msg string) []string {
	var wrong []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := selector(n.Fun)
			formats := slices.Contains([]string{"fmt.Sprintf", "fmt.Fprintf", "fmt.Appendf", "fmt.Printf"}, name)
			for _, arg := range n.Args {
				if formats && match(text(arg)) {
					wrong = append(wrong, f.at(n, msg))
					break
				}
			}
		case *ast.BinaryExpr:
			if n.Op == token.ADD && !literal(n) && match(text(n)) {
				wrong = append(wrong, f.at(n, msg))
				return false
			}
		}
		return true
	})
	return wrong
}

func literal(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.SelectorExpr:
		return strings.HasPrefix(selector(e), "ns.") // a namespace is a constant
	case *ast.BinaryExpr:
		return literal(e.X) && literal(e.Y)
	case *ast.ParenExpr:
		return literal(e.X)
	}
	return false
}

// checkBuiltXML: text and attributes are escaped by xmltree.Writer and nowhere else.
// Scenarios are text that becomes XML: their runner is the exception.
func checkBuiltXML(f file) []string {
	if strings.HasPrefix(f.name, "xmpptest/") {
		return nil
	}
	if f.test() || under(f.name, []string{"interop"}) {
		return nil
	}
	tag := regexp.MustCompile(`^\s*<[/?!]?[A-Za-z%]|<[/?!]?[a-z%][\w:%]*( [\w:]+=|/?>)`)
	return built(f, tag.MatchString, "XML is written by xmltree.Writer, never put together")
}

// checkBuiltSQL: what is in a statement is ours; what is not goes into its arguments.
func checkBuiltSQL(f file) []string {
	if f.test() || under(f.name, []string{"interop"}) {
		return nil
	}
	statement := regexp.MustCompile(`(?is)^\s*(select\s.*\sfrom|insert\s+into|update\s.*\sset|delete\s+from)\s`)
	return built(f, statement.MatchString, "SQL is a constant with $1, never put together")
}

// checkPackageComment: every package says in one sentence what it is.
func checkPackageComment(dir string, files []file) []string {
	var comments []string
	name := ""
	for _, f := range files {
		pkg := f.ast.Name.Name
		if f.test() && len(files) > 1 && dir != "." {
			continue
		}
		name = pkg
		if f.ast.Doc != nil {
			comments = append(comments, f.ast.Doc.Text())
		}
	}
	begin := "Package " + name + " "
	if name == "main" {
		begin = "Command " + path.Base(dir) + " "
	}
	switch {
	case name == "" || slices.ContainsFunc(comments, func(c string) bool { return strings.HasPrefix(c, begin) }):
		return nil
	case len(comments) == 0:
		return []string{dir + ": no package comment; it begins with // " + begin}
	}
	return []string{dir + ": the package comment does not begin with // " + begin}
}

// checkModule: a module says which specifications it implements, and is tested by a scenario.
func checkModule(dir string, files []file, scenarios []string) []string {
	specs := -1
	for _, f := range files {
		if f.test() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Names) != 1 || v.Names[0].Name != "Module" || len(v.Values) != 1 {
				return true
			}
			if call, ok := v.Values[0].(*ast.CallExpr); ok && selector(call.Fun) == "module.Define" {
				specs = max(0, len(call.Args)-2) // name, attach, specs...
			}
			return false
		})
	}
	var wrong []string
	switch specs {
	case -1:
		wrong = append(wrong, dir+": no var Module = module.Define(...)")
	case 0:
		wrong = append(wrong, dir+": its Module names no specification")
	}
	if len(scenarios) == 0 {
		wrong = append(wrong, dir+": no scenario in testdata/*.xmpp")
	}
	return wrong
}

// stateful lists what changes by being used, so that no package may hold it. sync.Pool is not one of them: what is in a
// pool has no meaning.
func stateful(name string) bool {
	pkg, _, _ := strings.Cut(name, ".")
	return slices.Contains([]string{"atomic", "prometheus", "promauto", "expvar"}, pkg) ||
		slices.Contains([]string{"sync.Mutex", "sync.RWMutex", "sync.Map", "sync.Once", "sync.WaitGroup", "sync.Cond", "list.New"}, name)
}

// checkState returns the variables of a package that change. Errors, compiled expressions and tables are made once and
// are only read; a variable that is written anywhere, or whose type is made for changing, is state. A package that imports
// testing lives in a test binary, and may keep what its tests share.
func checkState(files []file) []string {
	files = slices.DeleteFunc(slices.Clone(files), file.test)
	if slices.ContainsFunc(files, func(f file) bool { return f.imports("testing") != nil }) {
		return nil
	}
	if len(files) == 0 {
		return nil
	}
	// Types are not needed, only which name means which thing, so a package of which no import is known will do.
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: nobody{}, Error: func(error) {}}
	var trees []*ast.File
	fset := token.NewFileSet()
	var wrong []string
	for i, f := range files {
		tree, err := parser.ParseFile(fset, f.name, f.src, parser.SkipObjectResolution)
		if err != nil {
			return []string{err.Error()}
		}
		files[i].fset, files[i].ast = fset, tree
		trees = append(trees, tree)
	}
	pkg, _ := conf.Check("p", fset, trees, info) // the error tells of the unknown imports
	global := func(e ast.Expr) bool {
		id := base(e)
		v, ok := info.Uses[id].(*types.Var)
		return id != nil && ok && v.Parent() == pkg.Scope()
	}
	for _, f := range files {
		for _, d := range f.ast.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				wrong = append(wrong, statefulVars(f, g)...)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			for _, e := range written(n) {
				if global(e) {
					wrong = append(wrong, f.at(e, "the package variable "+base(e).Name+" is changed"))
				}
			}
			return true
		})
	}
	return wrong
}

func statefulVars(f file, g *ast.GenDecl) []string {
	var wrong []string
	state := func(n ast.Node, what string) {
		wrong = append(wrong, f.at(n, "a package variable is state: "+what))
	}
	ast.Inspect(g, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // what a function uses when it is called is its own
		case *ast.ChanType:
			state(n, "chan")
		case *ast.SelectorExpr:
			if name := selector(n); stateful(name) {
				state(n, name)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "make" {
				state(n, "make")
			}
		}
		return true
	})
	return wrong
}

// base returns the variable at the root of x, x.f, x[i], *x, (x).
func base(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.SelectorExpr:
		return base(e.X)
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.StarExpr:
		return base(e.X)
	case *ast.ParenExpr:
		return base(e.X)
	}
	return nil
}

// written returns what a node assigns to, counts up, or deletes from.
func written(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (id.Name == "delete" || id.Name == "clear") {
			return n.Args[:1]
		}
	}
	return nil
}

// nobody imports nothing.
type nobody struct{}

func (nobody) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

func TestChecks(t *testing.T) {
	comment := func(f file) []string { return checkPackageComment("d/x", []file{f}) }
	state := func(f file) []string { return checkState([]file{f}) }
	mod := func(f file) []string { return checkModule("server/module/x", []file{f}, []string{"a.xmpp"}) }
	tests := []struct {
		name  string
		check func(file) []string
		src   string
		wrong bool
	}{
		{"x.go", checkInit, `func init() {}`, true},
		{"x.go", checkInit, `func (t T) init() {}`, false},
		{"x.go", checkEncodingXML, `import "encoding/xml"`, true},
		{"x_test.go", checkEncodingXML, `import "encoding/xml"`, false},
		{"x.go", checkRand, `import "math/rand/v2"`, true},
		{"x.go", checkRand, `import "crypto/rand"`, false},
		{"x.go", checkLength, strings.Repeat("// a\n", 501), true},
		{"x.go", checkLength, "// Code generated by x. DO NOT EDIT.\n" + strings.Repeat("// a\n", 501), false},
		{"x_test.go", checkSleep, `func f() { time.Sleep(1) }`, true},
		{"x_test.go", checkSleep, `var x = func() { time.Sleep(1) }`, true},
		{"x_test.go", checkSleep, `func f() { synctest.Test(t, func() { time.Sleep(1) }) }`, false},
		{"x_test.go", checkSleep, "func f() {\n time.Sleep(1) // a real server is waited for\n}", false},
		{"interop/x_test.go", checkSleep, `func f() { time.Sleep(1) }`, false},
		{"x.go", checkBuiltXML, "var x = fmt.Sprintf(`<body>%s</body>`, text)", true},
		{"x.go", checkBuiltXML, "func f() { fmt.Fprintf(w, `hello <b id='%s'/>`, id) }", true},
		{"x.go", checkBuiltXML, "var x = `<a to='` + to + `'/>`", true},
		{"x.go", checkBuiltXML, "var x = `<a xmlns='` + ns.A + `'/>`", false},
		{"x.go", checkBuiltXML, "var x = fmt.Sprintf(`%d < %d`, 1, 2)", false},
		{"x.go", checkBuiltSQL, "var q = fmt.Sprintf(`SELECT a FROM %s`, t)", true},
		{"x.go", checkBuiltSQL, "var q = `delete from t where a = ` + a", true},
		{"x.go", checkBuiltSQL, "var q = `SELECT a ` +\n`FROM t`", false},
		{"x.go", comment, `const c = 1`, true},
		{"x.go", state, `var n int; func f() { n++ }`, true},
		{"x.go", state, `var m = map[string]int{}; func f() { m["a"] = 1 }`, true},
		{"x.go", state, `var m = map[string]int{}; func f() { delete(m, "a") }`, true},
		{"x.go", state, `var mu sync.Mutex`, true},
		{"x.go", state, `var c = make(chan int)`, true},
		{"x.go", state, `var n atomic.Int64`, true},
		{"x.go", state, `var m = map[string]int{"a": 1}; func f() { m := map[string]int{}; m["a"] = 1 }`, false},
		{"x.go", state, `var Err = errors.New("x"); var re = regexp.MustCompile("x")`, false},
		{"x.go", state, `var p = sync.Pool{New: func() any { return make([]byte, 1) }}`, false},
		{"x.go", mod, `var Other = 1`, true},
		{"x.go", mod, `var Module = module.Define("x", attach)`, true},
		{"x.go", mod, `var Module = module.Define("x", attach, module.XEP(1, "1"))`, false},
	}
	for _, tt := range tests {
		f := parse(t, tt.name, "package x\n"+tt.src+"\n")
		if got := tt.check(f); (len(got) > 0) != tt.wrong {
			t.Errorf("%s: %.80q: found %q, want something found: %v", tt.name, tt.src, got, tt.wrong)
		}
	}
	if got := comment(parse(t, "x.go", "// Package x does.\npackage x\n")); len(got) > 0 {
		t.Errorf("a good package comment: %q", got)
	}
	if got := checkModule("server/module/x", nil, nil); len(got) != 2 {
		t.Errorf("a module without Module and scenario: %q, want both missed", got)
	}
}
