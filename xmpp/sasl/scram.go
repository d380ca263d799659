package sasl

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
)

// gs2 is the header of RFC 5802 §7: how the channel is bound, and as whom the
// client wants to act.
type gs2 struct {
	flag    byte   // 'n', 'y' or 'p'
	binding string // type, for 'p'
	authzid string
	raw     string // as received, both commas included
}

// clientFirst is the client-first-message.
type clientFirst struct {
	gs2
	bare     string
	username string
	nonce    string
}

// serverFirst is the server-first-message.
type serverFirst struct {
	raw        string
	nonce      string
	salt       []byte
	iterations int
	offer      string // XEP-0474, in base64; "": none
	tls        string // XEP-0515; "": none
}

// clientFinal is the client-final-message.
type clientFinal struct {
	withoutProof string
	binding      string // the value of "c", in base64
	nonce        string
	proof        []byte
}

func parseClientFirst(message string) (clientFirst, string) {
	header, rest, reason := parseGS2(message)
	if reason != "" {
		return clientFirst{}, reason
	}
	f := clientFirst{gs2: header, bare: rest}
	values, reason := attributes(rest, "nr")
	if reason != "" {
		return clientFirst{}, reason
	}
	username, ok := unescape(values[0])
	if !ok {
		return clientFirst{}, "invalid-username-encoding"
	}
	f.username, f.nonce = username, values[1]
	if !isNonce(f.nonce) {
		return clientFirst{}, "invalid nonce"
	}
	return f, ""
}

func parseGS2(message string) (gs2, string, string) {
	flag, rest, ok := strings.Cut(message, ",")
	authz, rest, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 {
		return gs2{}, "", "no GS2 header"
	}
	h := gs2{raw: message[:len(message)-len(rest)]}
	if name, bound := strings.CutPrefix(flag, "p="); bound && isBindingName(name) {
		h.flag, h.binding = 'p', name
	} else if flag == "n" || flag == "y" {
		h.flag = flag[0]
	} else {
		return gs2{}, "", "no channel binding flag"
	}
	if authz != "" {
		escaped, ok := strings.CutPrefix(authz, "a=")
		name, ok2 := unescape(escaped)
		if !ok || !ok2 {
			return gs2{}, "", "no authorization identity"
		}
		h.authzid = name
	}
	return h, rest, ""
}

func parseServerFirst(message string) (serverFirst, string) {
	values, reason := attributes(message, "rsi")
	if reason != "" {
		return serverFirst{}, reason
	}
	f := serverFirst{raw: message, nonce: values[0]}
	var ok bool
	if f.salt, ok = decode(values[1]); !ok || len(f.salt) == 0 {
		return serverFirst{}, "invalid salt"
	}
	// RFC 5802 §7: posit-number, which has neither sign nor leading zero.
	n, err := strconv.Atoi(values[2])
	if err != nil || strconv.Itoa(n) != values[2] {
		return serverFirst{}, "invalid iteration count"
	}
	f.iterations = n
	f.offer, f.tls = extension(message, 'h'), extension(message, 't')
	if !isNonce(f.nonce) {
		return serverFirst{}, "invalid nonce"
	}
	return f, ""
}

func parseClientFinal(message string) (clientFinal, string) {
	i := strings.LastIndex(message, ",p=")
	if i < 0 {
		return clientFinal{}, "no proof"
	}
	f := clientFinal{withoutProof: message[:i]}
	values, reason := attributes(f.withoutProof, "cr")
	if reason != "" {
		return clientFinal{}, reason
	}
	f.binding, f.nonce = values[0], values[1]
	var ok bool
	if f.proof, ok = decode(message[i+len(",p="):]); !ok {
		return clientFinal{}, "invalid proof"
	}
	return f, ""
}

// attributes reads the wanted attributes, which come first and in this order,
// and then the extensions. RFC 5802 §5.1: those that are not known are
// ignored, but "m" says that it must be understood.
func attributes(message, wanted string) (values []string, reason string) {
	list := strings.Split(message, ",")
	for i, attr := range list {
		if len(attr) < 2 || attr[1] != '=' || !isLetter(attr[0]) {
			return nil, "not an attribute"
		}
		switch {
		case attr[0] == 'm':
			return nil, "extensions-not-supported"
		case i < len(wanted) && attr[0] != wanted[i]:
			return nil, "attribute " + wanted[i:i+1] + " is missing"
		case i < len(wanted):
			values = append(values, attr[2:])
		case strings.IndexByte("aceinprsv", attr[0]) >= 0:
			// An attribute with a meaning elsewhere is no extension.
			return nil, "attribute out of place"
		case len(attr) == 2:
			return nil, "not an attribute"
		}
	}
	if len(values) < len(wanted) {
		return nil, "attribute " + wanted[len(values):len(values)+1] + " is missing"
	}
	return values, ""
}

// extension returns the value of an attribute behind those that are wanted, "" if
// it is not there. Of several the last counts for nobody: that is an offence.
func extension(message string, name byte) string {
	value := ""
	for attr := range strings.SplitSeq(message, ",") {
		if len(attr) > 2 && attr[0] == name && attr[1] == '=' {
			if value != "" {
				return "?"
			}
			value = attr[2:]
		}
	}
	return value
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// isBindingName: cb-name of RFC 5802 §7.
func isBindingName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

// isNonce: printable of RFC 5802 §7, of at least one character.
func isNonce(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x21 || c > 0x7e || c == ',' {
			return false
		}
	}
	return s != ""
}

// escape: RFC 5802 §5.1, attribute n.
func escape(s string) string { return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s) }

func unescape(s string) (string, bool) {
	if s == "" || strings.IndexByte(s, 0) >= 0 || strings.IndexByte(s, ',') >= 0 {
		return "", false
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "=")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), true
		case strings.HasPrefix(after, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		s = after[2:]
	}
}

var base64Strict = base64.StdEncoding.Strict()

func encode(b []byte) string { return base64Strict.EncodeToString(b) }

// decode refuses what encode would not have written; package base64 skips
// line ends.
func decode(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64Strict.DecodeString(s)
	return b, err == nil
}

// boundTo returns the value of "c" (RFC 5802 §5.1).
func boundTo(header string, data []byte) string {
	return encode(append([]byte(header), data...))
}

// authMessage: RFC 5802 §3.
func authMessage(clientFirstBare, serverFirst, clientFinalWithoutProof string) string {
	return clientFirstBare + "," + serverFirst + "," + clientFinalWithoutProof
}

func xor(a, b []byte) []byte {
	out := bytes.Clone(a)
	for i := range out {
		out[i] ^= b[i]
	}
	return out
}
