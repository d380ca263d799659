package config

import (
	"errors"
	"strconv"
	"strings"
)

// ErrNotInThisVersion is what an Error is when it names a key or value that is promised and not built yet.
var ErrNotInThisVersion = errors.New("not in this version")

// Error is one thing that is wrong in a configuration.
type Error struct {
	File         string
	Line, Column int    // from 1, in bytes; 0 if what is wrong is what is not there
	Key          string // dotted; empty for an error of the file as a whole
	Msg          string // what is wrong and what is wanted
	cause        error
}

// Error returns file:line:column: key: message, without what is not known.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line) + ":" + strconv.Itoa(e.Column))
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Unwrap returns what caused the error, if anything did.
func (e *Error) Unwrap() error { return e.cause }

// Errors is everything that is wrong in one file, in its order.
type Errors []*Error

// Error returns the errors, a line for each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one.
func (es Errors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}
