package archive

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base32"
	"encoding/binary"

	"kith/server/account"
)

// IDs turns the ids of messages into what others see of them. XEP-0359 §6: that
// tells nothing, neither when a message came nor how many there are. So it is one
// block of a cipher under a key of the server's, made of the owner and the id.
type IDs struct{ block cipher.Block }

// OpenIDs reads the key, which the database keeps.
func OpenIDs(ctx context.Context, accounts *account.Store) (*IDs, error) {
	secret, err := accounts.Secret(ctx, "archive ids")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return &IDs{block}, nil
}

// 26 characters in one case only, for those who make a file's name of it.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Format returns a message's id as others see it.
func (i *IDs) Format(owner, id int64) string {
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[:8], uint64(owner))
	binary.BigEndian.PutUint64(b[8:], uint64(id))
	i.block.Encrypt(b[:], b[:])
	return encoding.EncodeToString(b[:])
}

// Parse is the reverse of Format; false for what it never returned for this
// owner. Whether there is such a message it does not know.
func (i *IDs) Parse(owner int64, s string) (int64, bool) {
	var b [aes.BlockSize]byte
	if len(s) != encoding.EncodedLen(len(b)) {
		return 0, false
	}
	raw, err := encoding.DecodeString(s)
	if err != nil || len(raw) != len(b) {
		return 0, false
	}
	i.block.Decrypt(b[:], raw)
	id := int64(binary.BigEndian.Uint64(b[8:]))
	// The encoding has two bits to spare: only one spelling is ours.
	if binary.BigEndian.Uint64(b[:8]) != uint64(owner) || id <= 0 || i.Format(owner, id) != s {
		return 0, false
	}
	return id, true
}
