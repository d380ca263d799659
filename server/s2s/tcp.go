package s2s

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Of a peer that is there at all the kernel hears in this time; what was sent to one
// that is not is then sent on another stream, or back.
const (
	keepAliveIdle     = 30 * time.Second
	keepAliveInterval = 10 * time.Second
	keepAliveCount    = 3
)

// connect opens a connection by TCP. A peer that has fallen silent is noticed.
func connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount},
		Control:         bounded,
	}
	return d.DialContext(ctx, "tcp", to.String())
}
