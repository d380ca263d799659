// Package interop holds the tests against programs that others wrote: servers,
// client libraries and clients for a terminal. They are Go tests behind the
// build tag interop and run on Linux:
//
//	interop/install.sh
//	go test -tags interop ./interop
//
// They wait more than they compute, so that all are parallel; make test runs four
// at a time.
//
// Every walk is made against each server of the list, Kith and its peers alike,
// so that what fails against Kith alone is Kith's fault. A library is driven
// by a puppet, a small program in the library's own language that takes orders
// from its standard input (see puppet_test.go); the walk itself is
// written once, in walk_test.go.
//
// A peer that is not installed skips its tests with that reason; where the
// environment has CI=true it fails them.
package interop
