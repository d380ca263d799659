package resolve

import "time"

// Impatient asks again sooner.
func (n NameServer) Impatient() NameServer {
	n.again = 50 * time.Millisecond
	return n
}
