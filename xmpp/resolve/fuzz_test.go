package resolve

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzAnswer: whatever a name server sends is read or refused, and what is read is
// bounded and fit to be shown.
func FuzzAnswer(f *testing.F) {
	name := dnsmessage.MustNewName("_5269._tcp.example.org.")
	for _, body := range []dnsmessage.ResourceBody{
		&dnsmessage.UnknownResource{Type: typeTLSA, Data: append([]byte{3, 1, 1}, make([]byte, 32)...)},
		&dnsmessage.UnknownResource{Type: typeTLSA, Data: []byte{3}},
		&dnsmessage.SRVResource{Port: 1, Target: dnsmessage.MustNewName("a.example.")},
		&dnsmessage.CNAMEResource{CNAME: name}, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}, &dnsmessage.AAAAResource{},
	} {
		m := dnsmessage.Message{Header: dnsmessage.Header{Response: true, AuthenticData: true},
			Questions: []dnsmessage.Question{{Name: name, Type: typeTLSA, Class: dnsmessage.ClassINET}},
			Answers:   []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: body}}}
		msg, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		q, err := newQuestion(name.String(), typeTLSA)
		if err != nil {
			t.Fatal(err)
		}
		if len(msg) >= 2 {
			q.id = binary.BigEndian.Uint16(msg)
		}
		q.answered(msg)
		tlsa, err := parse(q, msg, readTLSA)
		if err == nil && len(tlsa.Records) == 0 || len(tlsa.Records) > maxRecords {
			t.Errorf("%d records, %v", len(tlsa.Records), err)
		}
		for _, r := range Usable(tlsa.Records) {
			if n := len(r.Data); n == 0 || n > maxTLSAData {
				t.Errorf("record with %d bytes", n)
			}
			r.Certificate()
		}
		q.Type = dnsmessage.TypeSRV
		srv, _ := parse(q, msg, readSRV)
		for _, r := range srv.Records {
			if r.Target != "." && !hostname(r.Target) {
				t.Errorf("target %q", r.Target)
			}
		}
		q.Type = dnsmessage.TypeA
		if a, err := parse(q, msg, readA); err == nil && len(a.Records) == 0 {
			t.Errorf("nothing, and no error")
		} else if err != nil && a.Secure {
			t.Errorf("secure, and %v", errors.Unwrap(err))
		}
	})
}
