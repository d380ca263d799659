package storage_test

import (
	"testing"

	"kith/server/storage"
	"kith/server/storage/storagetest"
)

func TestSQLite(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) *storage.DB { return storagetest.SQLite(t) })
}

func TestPostgres(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) *storage.DB { return storagetest.Postgres(t) })
}
