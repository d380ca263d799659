package storage

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned by QueryRow(...).Scan when there is no row.
	ErrNotFound = errors.New("no such row")
	// ErrConflict wraps the violation of a unique or primary key.
	ErrConflict = errors.New("row exists already")
	// ErrUnavailable wraps failures of the store as such: no statement is at fault, a later try may succeed.
	ErrUnavailable = errors.New("database unavailable")
	// ErrClosed is returned after Close; it is an ErrUnavailable.
	ErrClosed = fmt.Errorf("%w: closed", ErrUnavailable)

	// errLocked wraps the failure to lock the SQLite file against another process.
	errLocked = errors.New("locked by another process")
)

// PanicError is the panic of a function given to [DB.Write].
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in a write: %v", e.Value) }

// wrapped gives err a kind that errors.Is finds, once.
func wrapped(kind, err error) error {
	if errors.Is(err, kind) {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}
