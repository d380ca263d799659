package server

import "kith/server/storage"

// DB is the server's database, for tests that take it away.
func (s *Server) DB() *storage.DB { return s.db }
