// Package contact implements XEP-0157: Contact Addresses for XMPP Services.
package contact

import (
	"kith/server/module"
	xcontact "kith/xmpp/xep/contact"
)

// Module is the module.
var Module = module.Define("contact", attach, module.XEP(157, "1.1.1"))

func attach(h *module.Host, _ struct{}) error {
	c := h.Config.Host[h.Domain.Domain()].Contact
	addresses := xcontact.Addresses{
		Abuse: c.Abuse, Admin: c.Admin, Feedback: c.Feedback, Sales: c.Sales,
		Security: c.Security, Status: c.Status, Support: c.Support,
	}
	if f := addresses.Form(); f != nil {
		h.DiscoForm(f)
	}
	return nil
}
