package ldap

import (
	"context"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"kith/server/account"
	"kith/xmpp/sasl"
)

// SetPassword implements account.Directory, by RFC 3062: as the service, which the
// directory has to allow it, since the old password is not known here.
func (d *Directory) SetPassword(ctx context.Context, p account.Person, password string) error {
	if !d.conf.PasswordChange || d.self() {
		return account.ErrElsewhere
	}
	password, err := sasl.Prepare(password) // as it comes when it is logged in with
	if err != nil {
		return fmt.Errorf("%w: %w", sasl.ErrCredentials, err)
	}
	return d.pool.with(ctx, func(c *conn) error {
		if err := c.serve(d.conf); err != nil {
			return err
		}
		e, err := d.find(c, p.Username)
		if err != nil {
			return err
		}
		// The name may be somebody else's by now.
		if now, err := d.describe(c, p.Username, e); err != nil || now.Subject != p.Subject {
			if err == nil {
				err = refuse(errNobody)
			}
			return err
		}
		// An empty password would have the directory make one (RFC 3062 §2); prepared,
		// none is.
		_, err = c.PasswordModify(ldap.NewPasswordModifyRequest(e.DN, "", password))
		switch {
		case err == nil:
			return nil
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultConstraintViolation):
			return fmt.Errorf("%w: %w", account.ErrPassword, err)
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultProtocolError):
			return fmt.Errorf("%w: the directory does not allow it: %w", account.ErrElsewhere, err)
		}
		return fmt.Errorf("change the password of %s: %w", e.DN, err)
	})
}
