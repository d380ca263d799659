package sasl

// NewClientNonce is NewClient for an exchange of known nonces.
func NewClientNonce(mech string, c Credentials, o ClientOptions, nonce string) (Client, error) {
	b, err := chooseBinding(o)
	if err != nil {
		return nil, err
	}
	s, err := newScramClient(mech, c, b, nonce)
	if err != nil {
		return nil, err
	}
	s.offer = o
	return s, nil
}

// SetNonce fixes what a SCRAM server adds to the nonce.
func SetNonce(s Server, nonce string) {
	s.(*scramServer).nonce = func() string { return nonce }
}

// WeakKeys is MakeKeys without a lower bound of the iterations.
func WeakKeys(hash, password string, salt []byte, iterations int) Keys {
	h, err := hashNamed(hash)
	if err != nil {
		panic(err)
	}
	d, err := h.derive(password, salt, iterations)
	if err != nil {
		panic(err)
	}
	return Keys{Salt: salt, Iterations: iterations, StoredKey: h.sum(d.clientKey), ServerKey: d.serverKey}
}

// DigestSHA1 is the digest of an offer for SCRAM-SHA-1.
func DigestSHA1(o Offer) string {
	h, err := hashNamed(SHA1)
	if err != nil {
		panic(err)
	}
	return o.digest(h)
}
