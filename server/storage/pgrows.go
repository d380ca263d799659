package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const voidOID = 2278 // what a function without a result returns

type pgRows struct {
	c      *pgConn
	ctx    context.Context
	cancel context.CancelFunc
	sql    string
	rs     pgx.Rows
	fields []pgconn.FieldDescription
	raw    [][]byte
}

func (r *pgRows) columns() int { return len(r.raw) }

func (r *pgRows) next() (bool, error) {
	if !r.rs.Next() {
		if err := r.rs.Err(); err != nil {
			return false, r.c.failed(r.ctx, r.sql, err)
		}
		return false, nil
	}
	if r.fields == nil {
		r.fields = r.rs.FieldDescriptions()
	}
	r.raw = r.rs.RawValues()
	return true, nil
}

func (r *pgRows) close() error {
	r.rs.Close()
	err := r.rs.Err()
	if err != nil {
		err = r.c.failed(r.ctx, r.sql, err)
	}
	r.cancel()
	return err
}

// cell decodes the formats pgx asks for: binary for numbers and bytes, text for text.
func (r *pgRows) cell(i int) (cell, error) {
	raw, f := r.raw[i], &r.fields[i]
	if raw == nil {
		return cell{}, nil
	}
	isBinary := f.Format == pgx.BinaryFormatCode
	switch oid := f.DataTypeOID; {
	case oid == pgtype.Int8OID && isBinary:
		return cell{kind: integer, i: int64(binary.BigEndian.Uint64(raw))}, nil
	case oid == pgtype.Int4OID && isBinary:
		return cell{kind: integer, i: int64(int32(binary.BigEndian.Uint32(raw)))}, nil
	case oid == pgtype.BoolOID && isBinary:
		return cell{kind: integer, i: int64(raw[0])}, nil
	case oid == pgtype.Float8OID && isBinary:
		return cell{kind: float, f: math.Float64frombits(binary.BigEndian.Uint64(raw))}, nil
	case oid == pgtype.ByteaOID && isBinary:
		return cell{kind: bytes, b: raw}, nil
	case oid == pgtype.TextOID, oid == pgtype.VarcharOID, oid == pgtype.NameOID, oid == pgtype.UnknownOID,
		oid == pgtype.JSONOID, oid == pgtype.JSONBOID && !isBinary:
		return cell{kind: text, b: raw}, nil
	case oid == voidOID:
		return cell{}, nil
	}
	return r.other(i)
}

// other decodes what sums and the like yield.
func (r *pgRows) other(i int) (cell, error) {
	f := r.fields[i]
	m := r.c.c.TypeMap()
	t, ok := m.TypeForOID(f.DataTypeOID)
	if !ok {
		return cell{}, fmt.Errorf("column of unknown type %d", f.DataTypeOID)
	}
	v, err := t.Codec.DecodeValue(m, f.DataTypeOID, f.Format, r.raw[i])
	if err != nil {
		return cell{}, err
	}
	switch v := v.(type) {
	case int64:
		return cell{kind: integer, i: v}, nil
	case int32:
		return cell{kind: integer, i: int64(v)}, nil
	case int16:
		return cell{kind: integer, i: int64(v)}, nil
	case float64:
		return cell{kind: float, f: v}, nil
	case float32:
		return cell{kind: float, f: float64(v)}, nil
	case string:
		return cell{kind: text, s: v}, nil
	case pgtype.Numeric:
		// sum(bigint) is numeric; an integer in SQLite.
		if n, err := v.Int64Value(); err == nil {
			return cell{kind: integer, i: n.Int64}, nil
		}
		n, err := v.Float64Value()
		return cell{kind: float, f: n.Float64}, err
	}
	return cell{}, fmt.Errorf("column of type %s: cast it to one of the types this package knows", t.Name)
}
