package server

import (
	"context"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/blocklist"
	"kith/server/caps"
	"kith/server/factor"
	"kith/server/module/admin"
	"kith/server/module/last"
	"kith/server/module/private"
	"kith/server/module/push"
	"kith/server/module/vcard"
	"kith/server/report"
	"kith/server/roster"
	"kith/server/route"
	"kith/server/storage"
)

// engine is what a package keeps in the database.
type engine struct {
	migrations storage.Migrations
	purges     []account.Purge // of what it keeps of an account
	load       account.Part    // what its actor holds of that; nil: nothing
}

// engines are the packages with tables of their own, but for the accounts.
func engines() []engine {
	return []engine{
		{archive.Migrations(), archive.Purges, archive.Load},
		{roster.Migrations(), roster.Purges, roster.Load},
		{blocklist.Migrations(), blocklist.Purges, blocklist.Load},
		{route.Migrations(), route.Purges, nil},
		{caps.Migrations(), nil, nil},
		{private.Migrations(), private.Purges, private.Load},
		{vcard.Migrations(), vcard.Purges, vcard.Load},
		{last.Migrations(), last.Purges, last.Load},
		{admin.Migrations(), admin.Purges, admin.Load},
		{report.Migrations(), report.Purges, report.Load},
		{push.Migrations(), push.Purges, push.Load},
		{factor.Migrations(), factor.Purges, nil},
	}
}

func (s *Server) migrate(ctx context.Context) error {
	for _, e := range engines() {
		if err := s.db.Migrate(ctx, e.migrations); err != nil {
			return err
		}
	}
	return nil
}

func purges() (all []account.Purge) {
	for _, e := range engines() {
		all = append(all, e.purges...)
	}
	return all
}

func parts() (all []account.Part) {
	for _, e := range engines() {
		if e.load != nil {
			all = append(all, e.load)
		}
	}
	return all
}
