package caps

import (
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"slices"
	"strings"

	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
)

// SHA1 is the algorithm that everybody has (XEP-0115 §9.1).
const SHA1 = "sha-1"

// algorithms by their names at IANA.
var algorithms = map[string]func() hash.Hash{
	SHA1:      sha1.New,
	"sha-224": sha256.New224,
	"sha-256": sha256.New,
	"sha-384": sha512.New384,
	"sha-512": sha512.New,
}

// Errors of Hash and Verify.
var (
	// ErrUnknownHash: the algorithm is none that we have.
	ErrUnknownHash = errors.New("unknown hash")
	// ErrIllFormed: there is no verification string of such an answer, which is not
	// to be used (§5.4).
	ErrIllFormed = errors.New("ill-formed capabilities")
	// ErrMismatch: the answer is another than the one that was claimed.
	ErrMismatch = errors.New("capabilities are not those that were claimed")
	// ErrAmbiguous: another answer has the same verification string.
	ErrAmbiguous = errors.New("other capabilities have the same verification string")
)

// separator stands behind each factor of the verification string.
const separator = "<"

// formType is the field that names a form (XEP-0068).
const formType = "FORM_TYPE"

// factors are what the verification string consists of, sorted. i;octet is the
// order of bytes, which is that of Go's strings.
type factors struct {
	identities []string
	features   []string
	forms      []string // of all forms, one after the other
}

// Hash returns the verification string of an answer (§5.1). Its forms are those
// that were parsed.
func Hash(algorithm string, info *disco.Info) (string, error) {
	f, err := factorsOf(info)
	if err != nil {
		return "", err
	}
	return f.hash(algorithm)
}

// Verify checks that an answer is the one that is claimed (§5.4), and that nobody
// could have made another answer of the same verification string, which the
// generation method allows (§9.3). Only then others who claim the same may be
// taken to be the same.
func (c Caps) Verify(info *disco.Info) error {
	f, err := factorsOf(info)
	if err != nil {
		return err
	}
	ver, err := f.hash(c.Hash)
	switch {
	case err != nil:
		return err
	case ver != c.Ver:
		return ErrMismatch
	case f.ambiguous(info):
		return ErrAmbiguous
	}
	return nil
}

func (f *factors) hash(algorithm string) (string, error) {
	make := algorithms[algorithm]
	if make == nil {
		return "", ErrUnknownHash
	}
	h := make()
	for _, part := range [][]string{f.identities, f.features, f.forms} {
		for _, s := range part {
			h.Write([]byte(s))
			h.Write([]byte(separator))
		}
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// factorsOf sorts an answer. One that has something twice is ill-formed (§5.4,
// step 3); so is one with a separator in a factor, which would make it look like
// two: the note in §5.1 would have it written as a reference, and then it would
// look like a factor with that reference in it.
func factorsOf(info *disco.Info) (*factors, error) {
	f := new(factors)
	identities := slices.Clone(info.Identities)
	slices.SortFunc(identities, func(a, b disco.Identity) int {
		return cmp.Or(cmp.Compare(a.Category, b.Category), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Lang, b.Lang), cmp.Compare(a.Name, b.Name))
	})
	for i, id := range identities {
		if i > 0 && id == identities[i-1] {
			return nil, ErrIllFormed
		}
		f.identities = append(f.identities, id.Category+"/"+id.Type+"/"+id.Lang+"/"+id.Name)
	}
	f.features = slices.Sorted(slices.Values(info.Features))
	if len(slices.Compact(slices.Clone(f.features))) != len(f.features) {
		return nil, ErrIllFormed
	}
	if err := f.addForms(info); err != nil {
		return nil, err
	}
	for _, part := range [][]string{f.identities, f.features, f.forms} {
		if slices.ContainsFunc(part, func(s string) bool { return strings.Contains(s, separator) }) {
			return nil, ErrIllFormed
		}
	}
	return f, nil
}

func (f *factors) addForms(info *disco.Info) error {
	forms := make(map[string]*form.Form)
	for _, x := range info.Forms {
		one, ok := x.(*form.Form)
		if !ok {
			return ErrIllFormed
		}
		name, err := nameOf(one)
		switch {
		case err != nil:
			return err
		case name == "": // §5.4, step 3.6
			continue
		case forms[name] != nil: // step 3.5
			return ErrIllFormed
		}
		forms[name] = one
	}
	names := make([]string, 0, len(forms))
	for name := range forms {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f.forms = append(f.forms, name)
		var fields [][]string
		for _, field := range forms[name].Fields {
			if field.Var != formType {
				fields = append(fields, append([]string{field.Var}, slices.Sorted(slices.Values(field.Values))...))
			}
		}
		slices.SortFunc(fields, slices.Compare)
		f.forms = append(f.forms, slices.Concat(fields...)...)
	}
	return nil
}

// nameOf returns the FORM_TYPE of a form, "" if the form does not count: there is
// none that is hidden (§5.4, step 3.6). One with several values is ill-formed
// (step 3.5).
func nameOf(x *form.Form) (string, error) {
	name, hidden := "", true
	for _, field := range x.Fields {
		if field.Var != formType {
			continue
		}
		hidden = hidden && field.Type == form.Hidden
		for _, v := range field.Values {
			if name != "" && v != name {
				return "", ErrIllFormed
			}
			name = v
		}
	}
	if !hidden {
		return "", nil
	}
	return name, nil
}
