package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"kith/xmpp/jid"
)

// Load reads a file. What is wrong in it is returned as Errors, all at once.
func Load(file string) (*Config, error) {
	data, err := read(file)
	if err != nil {
		return nil, err
	}
	return decode(Default(), file, data)
}

// LoadLocal returns the configuration of serve --local, with single keys changed by the file override if one is named.
// A data directory given here wins over the file's; if it is empty, the file's holds, else .kith.
func LoadLocal(dataDir, override string) (*Config, error) {
	c := Local(dataDir)
	c.given = dataDir
	if override == "" {
		return c, nil
	}
	data, err := read(override)
	if err != nil {
		return nil, err
	}
	if c, err = decode(c, override, data); err == nil && dataDir != "" {
		c.Data = dataDir
	}
	return c, err
}

// maxFile is far above any configuration a person wrote; a wrong name may be that of a film.
const maxFile = 4 << 20

func read(file string) ([]byte, error) {
	data, err := readSome(file)
	if err == nil {
		return data, nil
	}
	err = why(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read configuration %s: %w; name the right file with --config, or try without one: kith serve --local", file, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("read configuration %s: %w; let the user that runs kith read it", file, err)
	case errors.Is(err, syscall.EISDIR):
		return nil, fmt.Errorf("read configuration %s: %w; name the file in it", file, err)
	}
	return nil, fmt.Errorf("read configuration %s: %w; name the right file with --config", file, err)
}

func readSome(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("too long for a configuration")
	}
	return data, err
}

// why returns what the system said without the operation and the name, which our sentence has already.
func why(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// decode puts what a file says over what c holds.
func decode(c *Config, file string, data []byte) (*Config, error) {
	doc, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	c.File, c.doc = file, doc
	d := &decoder{doc: doc, root: reflect.TypeFor[Config]()}
	d.table(nil, doc.values, reflect.ValueOf(c).Elem())
	d.complete(c)
	if len(d.errs) == 0 {
		d.validate(c)
	}
	if err := d.result(); err != nil {
		return nil, err
	}
	return c, nil
}

// complete makes the file's names absolute in meaning: files are found from where the configuration is, hosts are
// written as the server writes them, and a secret kept in a file of its own is fetched.
func (d *decoder) complete(c *Config) {
	dir := filepath.Dir(c.File)
	relative := func(name *string) {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(dir, *name)
		}
	}
	if _, ok := d.doc.values["data"]; ok {
		relative(&c.Data)
	}
	relative(&c.TLS.Certificate)
	relative(&c.TLS.Key)
	relative(&c.TLS.ClientCA)
	relative(&c.S2S.CA)
	relative(&c.Storage.URLFile)
	c.Host = canonical(c.Host)
	for name, h := range c.Host {
		relative(&h.Certificate)
		relative(&h.Key)
		c.Host[name] = h
	}
	d.completePeople(c, relative)
	d.secrets(c, relative)
	if c.Storage.URLFile == "" {
		return
	}
	at := path{"storage", "url_file"}
	if _, ok := d.doc.keys[path{"storage", "url"}.id()]; ok {
		d.fail(d.doc.keyAt(at), at, "wanted either url or url_file, got both", nil)
		return
	}
	text, err := readSome(c.Storage.URLFile)
	if err != nil {
		d.fail(d.doc.valueAt(at), at, "cannot read "+c.Storage.URLFile+": "+why(err).Error(), err)
		return
	}
	c.Storage.URL = strings.TrimSpace(string(text))
}

// canonical returns tables for hosts by the names that the server writes.
func canonical[T any](written map[string]T) map[string]T {
	out := make(map[string]T, len(written))
	for name, t := range written {
		if j, err := jid.Parse(name); err == nil && j.Host() == j {
			if _, ok := out[j.Domain()]; !ok {
				name = strings.Clone(j.Domain())
			}
		}
		out[name] = t
	}
	return out
}
