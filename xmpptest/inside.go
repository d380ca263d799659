package xmpptest

import (
	"context"
	"log/slog"

	"kith/server"
	"kith/server/storage"
)

// Inside returns the running server itself.
func (s *Server) Inside() *server.Server { return s.server }

// Database gives a function the running server's database, by a handle of its own.
func (s *Server) Database(use func(db *storage.DB) error) {
	s.t.Helper()
	db, err := storage.Open(context.Background(), s.config.StorageURL(), slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	err = use(db)
	if err := db.Close(); err != nil {
		s.t.Error(err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Change changes the running server's database behind its back.
func (s *Server) Change(statement string, args ...any) {
	s.t.Helper()
	s.Database(func(db *storage.DB) error {
		return db.Write(context.Background(), func(tx *storage.Tx) error {
			_, err := tx.Exec(statement, args...)
			return err
		})
	})
}

// Count returns the number that is the only answer of the running server's database
// to a query.
func (s *Server) Count(query string, args ...any) (n int) {
	s.t.Helper()
	s.Database(func(db *storage.DB) error {
		return db.Read(context.Background(), func(r *storage.Reader) error { return r.QueryRow(query, args...).Scan(&n) })
	})
	return n
}
