// Command testsum reads what go test -json prints from its standard input and
// writes a summary that a person reads: one line for each package, the output
// of what failed, every skipped test with its reason, every failed one with the
// first it said, and at the end
//
//	N passed, N failed, N skipped
//
// alone on its line. Tests without subtests are counted. It exits with status
// 1 if anything failed, and if no test ran.
//
//	go test -json ./... | go run ./interop/cmd/testsum
package main

import (
	"fmt"
	"os"
)

func main() {
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if !s.finish() {
		os.Exit(1)
	}
}
