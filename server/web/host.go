package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ownNames lets only those requests pass that were made for this machine by a
// name that means it everywhere, or by an address we listen on. A page that a
// browser has loaded from elsewhere could otherwise have its own domain point
// to loopback and read what we say (DNS rebinding).
func ownNames(listen []netip.AddrPort, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownName(listen, r.Host) {
			http.Error(w, fmt.Sprintf("%q is not a name of this port; ask it as localhost, or by its address", r.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownName judges a Host header. No browser sends an empty one.
func ownName(listen []netip.AddrPort, host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return true
	}
	for _, l := range listen {
		// [::] is all of the machine's addresses, and an address cannot be made to
		// point elsewhere.
		if l.Addr().IsUnspecified() || l.Addr().Unmap().WithZone("") == a {
			return true
		}
	}
	return false
}
