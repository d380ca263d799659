package limit

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// breath is how long Accept waits when the machine has nothing left for another
// connection: others will end.
const breath = 50 * time.Millisecond

// Accept hands the connections of a listener to take, which must not block, until
// it is closed. That it was closed is no error.
func Accept(l net.Listener, log *slog.Logger, take func(net.Conn)) error {
	for {
		c, err := l.Accept()
		var ne net.Error
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.As(err, &ne): // out of descriptors
			log.Warn("connection not accepted", "listener", l.Addr(), "error", err)
			time.Sleep(breath)
			continue
		case err != nil:
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
		take(c)
	}
}
