package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// advised adds what to do to an error for which somebody has to do something: one of
// connecting to PostgreSQL, or of making tables.
func advised(err error) error {
	if s := advice(err); s != "" {
		return fmt.Errorf("%w; %s", err, s)
	}
	return err
}

// advice says what to do about an error of PostgreSQL, "" if that is not known.
func advice(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		var c *pgconn.ConnectError
		var p *pgconn.ParseConfigError
		switch {
		case errors.As(err, &p):
			return "wanted postgres://USER:PASSWORD@HOST/NAME, where what is not a letter or digit in user and password is written as %XX"
		case errors.As(err, &c), errors.Is(err, errNoAnswer):
			return "is PostgreSQL running there, and does a firewall let this machine through?"
		}
		return ""
	}
	switch e.Code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return "the user and the password of the URL have to be those of CREATE ROLE, and pg_hba.conf has to let the user in from this machine"
	case "3D000": // invalid_catalog_name
		return "make the database, as the user postgres: createdb --owner=USER --encoding=UTF8 --template=template0 NAME"
	case "42501": // insufficient_privilege
		return "give the database to the user of the URL, as the user postgres: ALTER DATABASE NAME OWNER TO USER"
	case "3F000": // invalid_schema_name
		return "make the schema that search_path names, or take search_path out of the URL"
	case "25006": // read_only_sql_transaction
		return "the database is a standby or read-only; the URL has to name the one that can be written to"
	case "53300": // too_many_connections
		return "PostgreSQL has as many connections as max_connections allows"
	case "57P03": // cannot_connect_now
		return "PostgreSQL is starting or stopping; try again"
	}
	return ""
}

// oneLine is an error whose text is one line, each thing said once: an attempt to connect
// lists every address, with and without TLS.
type oneLine struct{ error }

func (e oneLine) Error() string {
	var said []string
	for line := range strings.Lines(e.error.Error()) {
		line = strings.TrimSpace(line)
		if line != "" && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	text := strings.Join(said, ", ")
	return strings.Replace(text, ":, ", ": ", 1)
}

func (e oneLine) Unwrap() error { return e.error }

// errEncoding: PostgreSQL would store other characters than it was given.
func errEncoding(encoding string) error {
	return fmt.Errorf("postgres: the database has the encoding %s, wanted UTF8; "+
		"make it anew, as the user postgres: createdb --owner=USER --encoding=UTF8 --template=template0 NAME", encoding)
}
