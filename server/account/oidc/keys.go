package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"kith/server/config"
)

const (
	// keysFor is how long keys are used without asking whether they still hold.
	keysFor = time.Hour
	// keysAtMost is how long they are used if the issuer cannot be asked.
	keysAtMost = 24 * time.Hour
	// verifying is how many signatures are verified at once. Who waits for his turn
	// waits as long as his log-in may take.
	verifying = 4
	// askAgain is the least time between two questions to the issuer: tokens that
	// name keys which do not exist are free to make.
	askAgain = 15 * time.Second
	// answerWithin, largestAnswer and mostRedirects bound an answer of the issuer's.
	answerWithin  = 10 * time.Second
	largestAnswer = 1 << 20
	mostRedirects = 3
	// mostKeys is far above what an issuer has.
	mostKeys = 256
)

var (
	errUnknownKey = errors.New("signed by none of the issuer's keys")
	errAskedJust  = errors.New("the issuer did not answer a moment ago")
	errTooLarge   = errors.New("the issuer's answer is too large")
	errRedirect   = errors.New("the issuer redirects to where it must not, or too often")
)

// keys are what the issuer signs with.
type keys struct {
	issuer string
	client *http.Client
	asking chan struct{} // held by who asks the issuer
	slots  chan struct{} // held by who verifies a signature

	mu    sync.Mutex // guards what follows
	have  []jose.JSONWebKey
	read  time.Time // when the issuer told them
	asked time.Time // when it was asked last, whatever came of it
	err   error     // what came of it
}

func newKeys(conf config.OIDC, transport http.RoundTripper) (*keys, error) {
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if conf.CA != "" {
			pem, err := os.ReadFile(conf.CA)
			if err != nil {
				return nil, fmt.Errorf("load the authority of the issuer: %w", err)
			}
			own.TLSClientConfig.RootCAs = x509.NewCertPool()
			if !own.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("load the authority of the issuer: %s holds no certificate as PEM", conf.CA)
			}
		}
		own.MaxResponseHeaderBytes = 64 << 10
		own.DisableKeepAlives = true // it is asked once an hour
		transport = own
	}
	k := &keys{issuer: conf.Issuer, asking: make(chan struct{}, 1), slots: make(chan struct{}, verifying)}
	k.client = &http.Client{
		Transport: capped{transport}, Timeout: answerWithin,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > mostRedirects || !k.allowed(r.URL) {
				return errRedirect
			}
			return nil
		},
	}
	return k, nil
}

// allowed reports whether the issuer may be asked there: by https, or by http if it
// is on loopback itself.
func (k *keys) allowed(u *url.URL) bool {
	own, err := url.Parse(k.issuer)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && own.Scheme == "http" && config.Loopback(u))
}

// about is the URL of the issuer's description (OpenID Connect Discovery §4).
func (k *keys) about() string {
	return strings.TrimSuffix(k.issuer, "/") + "/.well-known/openid-configuration"
}

// capped bounds the length of answers.
type capped struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &cappedBody{resp.Body, largestAnswer}
	}
	return resp, err
}

type cappedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// attempt is the key set of one verification. The library tells what went wrong as
// text, so that it is kept here whether it was the issuer.
type attempt struct {
	keys *keys
	away error
}

// VerifySignature implements oidc.KeySet.
func (a *attempt) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	algs := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, name := range algorithms {
		algs[i] = jose.SignatureAlgorithm(name)
	}
	jws, err := jose.ParseSignedCompact(token, algs)
	if err != nil {
		return nil, err
	}
	have, read := a.keys.known()
	payload, ok, err := a.keys.verify(ctx, jws, have)
	if err != nil || ok && time.Since(read) < keysFor {
		a.away = err
		return payload, err
	}
	now, since, err := a.keys.refresh(ctx, read)
	switch {
	case err != nil && ok && time.Since(read) < keysAtMost:
		return payload, nil // by a key that held when the issuer could be asked last
	case err != nil:
		a.away = err
		return nil, err
	case since.Equal(read): // nothing newer to be had
	default:
		if payload, ok, err = a.keys.verify(ctx, jws, now); err != nil {
			a.away = err
			return nil, err
		}
	}
	if !ok {
		return nil, errUnknownKey
	}
	return payload, nil
}

// verify returns what one of the keys has signed, when it is its turn.
func (k *keys) verify(ctx context.Context, jws *jose.JSONWebSignature, have []jose.JSONWebKey) (payload []byte, ok bool, err error) {
	if len(jws.Signatures) != 1 {
		return nil, false, nil
	}
	select {
	case k.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false, fmt.Errorf("wait to verify a token: %w", ctx.Err())
	}
	defer func() { <-k.slots }()
	h := jws.Signatures[0].Header
	for i := range have {
		k := &have[i]
		if h.KeyID != "" && k.KeyID != h.KeyID || k.Algorithm != "" && k.Algorithm != h.Algorithm {
			continue
		}
		if payload, err := jws.Verify(k); err == nil {
			return payload, true, nil
		}
	}
	return nil, false, nil
}

func (k *keys) known() ([]jose.JSONWebKey, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.have, k.read
}

// refresh asks the issuer for its keys, unless somebody has done so since they were
// read last, or a moment ago. It returns those that hold now.
func (k *keys) refresh(ctx context.Context, seen time.Time) ([]jose.JSONWebKey, time.Time, error) {
	select {
	case k.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, time.Time{}, fmt.Errorf("wait for the issuer: %w", ctx.Err())
	}
	defer func() { <-k.asking }()
	k.mu.Lock()
	have, read, asked, err := k.have, k.read, k.asked, k.err
	k.mu.Unlock()
	switch {
	case !read.Equal(seen): // by another who was waiting too
		return have, read, nil
	case !asked.IsZero() && time.Since(asked) < askAgain:
		if err != nil {
			err = fmt.Errorf("%w: %w", errAskedJust, err)
		}
		return have, read, err
	}
	// Others wait for this answer: it does not depend on who asks.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	fresh, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.err = time.Now(), err
	if err != nil {
		return have, read, err
	}
	k.have, k.read = fresh, k.asked
	return k.have, k.read, nil
}

// fetch reads where the keys are, and the keys.
func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer) // which compares the issuer's name
	if err != nil {
		return nil, fmt.Errorf("ask the issuer: %w", err)
	}
	var d struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&d); err != nil {
		return nil, fmt.Errorf("ask the issuer: %w", err)
	}
	if u, err := url.Parse(d.Keys); err != nil || !k.allowed(u) {
		return nil, fmt.Errorf("ask the issuer: its keys are at %q, which is not https", d.Keys)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the issuer for its keys: %w", err)
	}
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the issuer for its keys: %w", err)
	}
	defer resp.Body.Close() // only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the issuer for its keys: it answers %s", resp.Status)
	}
	return usable(resp.Body)
}

// usable returns the public keys of a set that are for signing. A key that cannot be
// read is none (RFC 7517 §5).
func usable(r io.Reader) (out []jose.JSONWebKey, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(r).Decode(&set); err != nil {
		return nil, fmt.Errorf("read the issuer's keys: %w", err)
	}
	if len(set.Keys) > mostKeys {
		return nil, fmt.Errorf("read the issuer's keys: there are %d", len(set.Keys))
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) == nil && k.Valid() && k.IsPublic() && k.Use != "enc" {
			out = append(out, k)
		}
	}
	return out, nil
}
