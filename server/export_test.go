package server

import (
	"kith/server/component"
	"kith/server/config"
	"kith/server/factor"
	"kith/server/module"
	"kith/server/storage"
)

// DB is the server's database, for tests that take it away.
func (s *Server) DB() *storage.DB { return s.db }

// Look is what is done once a day.
func (s *Server) Look() { s.look() }

// Hosts are the virtual hosts of now.
func (s *Server) Hosts() []*module.Host { return s.router.Hosts() }

// Identity is what TLS shows now, to be compared.
func (s *Server) Identity() any { return s.identity.Load() }

// Config is the configuration of now.
func (s *Server) Config() *config.Config { return s.config.Load() }

// Sessions is how many there are.
func (s *Server) Sessions() int64 { return s.router.Stats().Sessions }

// Components are the external components.
func (s *Server) Components() *component.Server { return s.comps }

// Factors are the accounts' second factors.
func (s *Server) Factors() *factor.Store { return s.factors }
