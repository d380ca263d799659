package gateway

import (
	"net"
	"testing"
)

// TestHere: without TLS the secret is shown on this machine only.
func TestHere(t *testing.T) {
	for _, tt := range []struct {
		ip   string
		want bool
	}{
		{"127.0.0.1", true}, {"127.8.0.1", true}, {"::1", true}, {"::ffff:127.0.0.1", true},
		{"192.0.2.1", false}, {"10.0.0.1", false}, {"0.0.0.0", false}, {"::", false}, {"fe80::1", false}, {"2001:db8::1", false},
	} {
		if got := here(&net.TCPAddr{IP: net.ParseIP(tt.ip), Port: 5347}); got != tt.want {
			t.Errorf("here(%s) = %v, want %v", tt.ip, got, tt.want)
		}
	}
}
