package xmpptest

import "kith/server"

// Inside returns the running server itself.
func (s *Server) Inside() *server.Server { return s.server }
