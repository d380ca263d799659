package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in, want string
		ok             bool
	}{
		{
			name: "all is well",
			in: `{"Action":"start","Package":"kith/a"}
{"Action":"run","Package":"kith/a","Test":"TestOne"}
{"Action":"output","Package":"kith/a","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"pass","Package":"kith/a","Test":"TestOne","Elapsed":0.1}
{"Action":"pass","Package":"kith/a","Elapsed":0.25}`,
			want: "ok   kith/a  1 passed, 0 failed, 0 skipped  0.2s\n1 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
		{
			name: "only leaves count",
			in: `{"Action":"run","Package":"a","Test":"T"}
{"Action":"run","Package":"a","Test":"T/x"}
{"Action":"run","Package":"a","Test":"T/x/deep"}
{"Action":"run","Package":"a","Test":"T/y"}
{"Action":"pass","Package":"a","Test":"T/x/deep"}
{"Action":"pass","Package":"a","Test":"T/x"}
{"Action":"output","Package":"a","Test":"T/y","Output":"    y_test.go:3: want 1: got 2\n"}
{"Action":"output","Package":"a","Test":"T/y","Output":"    --- FAIL: T/y (0.00s)\n"}
{"Action":"fail","Package":"a","Test":"T/y"}
{"Action":"fail","Package":"a","Test":"T"}
{"Action":"output","Package":"a","Output":"FAIL\n"}
{"Action":"fail","Package":"a","Elapsed":1}`,
			want: "--- FAIL: a T\n--- FAIL: a T/y\n    y_test.go:3: want 1: got 2\n" +
				"FAIL a  1 passed, 1 failed, 0 skipped  1.0s\n" +
				"failed: a T: nothing said\nfailed: a T/y: y_test.go:3: want 1: got 2\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "names with slashes",
			in: `{"Action":"run","Package":"a","Test":"T"}
{"Action":"run","Package":"a","Test":"T/ping/server"}
{"Action":"pass","Package":"a","Test":"T/ping/server"}
{"Action":"pass","Package":"a","Test":"T"}
{"Action":"pass","Package":"a"}`,
			want: "ok   a  1 passed, 0 failed, 0 skipped  0.0s\n1 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
		{
			name: "a parent fails by itself",
			in: `{"Action":"run","Package":"a","Test":"T"}
{"Action":"run","Package":"a","Test":"T/x"}
{"Action":"pass","Package":"a","Test":"T/x"}
{"Action":"output","Package":"a","Test":"T","Output":"    a_test.go:9: leaked\n"}
{"Action":"fail","Package":"a","Test":"T"}
{"Action":"fail","Package":"a"}`,
			want: "--- FAIL: a T\n    a_test.go:9: leaked\n" +
				"FAIL a  1 passed, 1 failed, 0 skipped  0.0s\n" +
				"failed: a T: a_test.go:9: leaked\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "skips with their reasons",
			in: `{"Action":"run","Package":"a","Test":"TestPeer"}
{"Action":"output","Package":"a","Test":"TestPeer","Output":"=== RUN   TestPeer\n"}
{"Action":"output","Package":"a","Test":"TestPeer","Output":"    peer_test.go:30: prosody is not installed: run install.sh\n"}
{"Action":"output","Package":"a","Test":"TestPeer","Output":"--- SKIP: TestPeer (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestPeer"}
{"Action":"run","Package":"a","Test":"TestMute"}
{"Action":"skip","Package":"a","Test":"TestMute"}
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a"}`,
			want: "ok   a  1 passed, 0 failed, 2 skipped  0.0s\n" +
				"skipped: a TestMute: no reason given\n" +
				"skipped: a TestPeer: prosody is not installed: run install.sh\n" +
				"1 passed, 0 failed, 2 skipped\n",
			ok: true,
		},
		{
			name: "a package that is run again counts again, and only what ran",
			in: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestAllocs"}
{"Action":"output","Package":"a","Test":"TestAllocs","Output":"    a_test.go:3: not under the race detector\n"}
{"Action":"skip","Package":"a","Test":"TestAllocs"}
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a"}
{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestAllocs"}
{"Action":"pass","Package":"a","Test":"TestAllocs"}
{"Action":"pass","Package":"a"}`,
			want: "ok   a  1 passed, 0 failed, 1 skipped  0.0s\nok   a  1 passed, 0 failed, 0 skipped  0.0s\n" +
				"skipped: a TestAllocs: not under the race detector\n2 passed, 0 failed, 1 skipped\n",
			ok: true,
		},
		{
			name: "a package that has no test in its second run",
			in: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a"}
{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s [no tests to run]\n"}
{"Action":"pass","Package":"a"}`,
			want: "ok   a  1 passed, 0 failed, 0 skipped  0.0s\n1 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
		{
			name: "a package cut off in its first run",
			in: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"start","Package":"a"}
{"Action":"pass","Package":"a"}`,
			want: "--- FAIL: a: did not come to their end: TestOne\nFAIL a  0 passed, 1 failed, 0 skipped  0.0s\n" +
				"failed: a 1 tests: did not come to their end: TestOne\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "skipped tests alone are no run",
			in: `{"Action":"run","Package":"a","Test":"T"}
{"Action":"skip","Package":"a","Test":"T"}
{"Action":"pass","Package":"a"}`,
			want: "ok   a  0 passed, 0 failed, 1 skipped  0.0s\nskipped: a T: no reason given\n" +
				"no test ran\n0 passed, 0 failed, 1 skipped\n",
		},
		{
			name: "packages without tests say nothing",
			in: `{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Output":"?   \ta\t[no test files]\n"}
{"Action":"skip","Package":"a"}
{"Action":"run","Package":"b","Test":"T"}
{"Action":"pass","Package":"b","Test":"T"}
{"Action":"pass","Package":"b"}`,
			want: "ok   b  1 passed, 0 failed, 0 skipped  0.0s\n1 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
		{
			name: "a package that cannot be built",
			in: `{"ImportPath":"a [a.test]","Action":"build-output","Output":"# a [a.test]\n"}
{"ImportPath":"a [a.test]","Action":"build-output","Output":"a/x.go:4:2: undefined: y\n"}
{"ImportPath":"a [a.test]","Action":"build-fail"}
{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Output":"FAIL\ta [build failed]\n"}
{"Action":"fail","Package":"a","Elapsed":0,"FailedBuild":"a [a.test]"}`,
			want: "# a [a.test]\na/x.go:4:2: undefined: y\n--- FAIL: a (the package)\nFAIL\ta [build failed]\n" +
				"FAIL a  0 passed, 1 failed, 0 skipped  0.0s\n" +
				"failed: a (the package): FAIL\ta [build failed]\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a test cut off by a panic elsewhere",
			in: `{"Action":"run","Package":"a","Test":"TestDone"}
{"Action":"pass","Package":"a","Test":"TestDone"}
{"Action":"run","Package":"a","Test":"TestCut"}
{"Action":"output","Package":"a","Test":"TestCut","Output":"panic: boom\n"}
{"Action":"fail","Package":"a"}`,
			want: "--- FAIL: a TestCut\npanic: boom\n    it did not come to its end\n" +
				"FAIL a  1 passed, 1 failed, 0 skipped  0.0s\nfailed: a TestCut: panic: boom\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a package that fails with no test at fault",
			in: `{"Action":"run","Package":"a","Test":"T"}
{"Action":"pass","Package":"a","Test":"T"}
{"Action":"output","Package":"a","Output":"goleak: found a goroutine\n"}
{"Action":"fail","Package":"a"}`,
			want: "--- FAIL: a (the package)\ngoleak: found a goroutine\n" +
				"FAIL a  1 passed, 1 failed, 0 skipped  0.0s\nfailed: a (the package): goleak: found a goroutine\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "input that ends too early",
			in: `{"Action":"run","Package":"a","Test":"T"}
{"Action":"pass","Package":"a","Test":"T"}`,
			want: "--- FAIL: a: the output ends before the package does\n--- FAIL: a (the package)\n" +
				"FAIL a  1 passed, 1 failed, 0 skipped  0.0s\nfailed: a (the package): nothing said\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a crash that lists every goroutine",
			in: `{"Action":"run","Package":"a","Test":"T"}
{"Action":"output","Package":"a","Test":"T","Output":"SIGSEGV\n"}
` + strings.Repeat(`{"Action":"output","Package":"a","Test":"T","Output":"goroutine\n"}`+"\n", headLines+tailLines) +
				`{"Action":"fail","Package":"a","Test":"T"}
{"Action":"fail","Package":"a"}`,
			want: "--- FAIL: a T\nSIGSEGV\n" + strings.Repeat("goroutine\n", headLines-1) + "    … 1 lines more …\n" +
				strings.Repeat("goroutine\n", tailLines) + "FAIL a  0 passed, 1 failed, 0 skipped  0.0s\n" +
				"failed: a T: SIGSEGV\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "what go says itself is passed on",
			in:   "go: no such tool",
			want: "go: no such tool\nno test ran\n0 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "nothing at all",
			want: "no test ran\n0 passed, 0 failed, 0 skipped\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			s := newSummary(&out)
			if err := s.read(strings.NewReader(test.in)); err != nil {
				t.Fatal(err)
			}
			if ok := s.finish(); ok != test.ok || out.String() != test.want {
				t.Errorf("got %v\n%s\nwant %v\n%s", ok, out.String(), test.ok, test.want)
			}
		})
	}
}
