package server

import (
	"kith/server/module"
	"kith/server/module/access"
	"kith/server/module/addressing"
	"kith/server/module/adhoc"
	"kith/server/module/admin"
	"kith/server/module/anonymous"
	"kith/server/module/blocking"
	"kith/server/module/caps"
	"kith/server/module/carbons"
	"kith/server/module/contact"
	"kith/server/module/csi"
	"kith/server/module/delegation"
	"kith/server/module/disco"
	"kith/server/module/last"
	"kith/server/module/legacysession"
	"kith/server/module/mam"
	"kith/server/module/mfa"
	"kith/server/module/offline"
	"kith/server/module/ping"
	"kith/server/module/presence"
	"kith/server/module/private"
	"kith/server/module/privilege"
	"kith/server/module/push"
	"kith/server/module/register"
	"kith/server/module/reporting"
	"kith/server/module/retraction"
	"kith/server/module/roster"
	"kith/server/module/time"
	"kith/server/module/vcard"
	"kith/server/module/version"
)

// Modules is the list of modules, in the order in which they act.
func Modules() []module.Definition {
	return []module.Definition{
		anonymous.Module, // its checks come first
		disco.Module,
		contact.Module,
		register.Module,
		adhoc.Module,
		ping.Module,
		version.Module,
		time.Module,
		legacysession.Module,
		mfa.Module,
		access.Module,
		blocking.Module,
		reporting.Module,
		private.Module,
		vcard.Module,
		addressing.Module,
		privilege.Module,
		delegation.Module,
		presence.Module,
		caps.Module,
		last.Module,
		admin.Module,
		roster.Module,
		mam.Module,
		offline.Module,
		retraction.Module,
		carbons.Module,
		csi.Module,
		push.Module,
	}
}

// StreamSpecs are the specifications that concern streams and routing: they are
// implemented by no module.
func StreamSpecs() []module.Spec {
	return []module.Spec{
		module.RFC(6120, "streams, STARTTLS, SASL, binding, stanzas, errors"),
		module.RFC(6121, "delivery rules (§8.5)"),
		module.RFC(7622, "addresses"),
		module.RFC(7590, "use of TLS"),
		module.RFC(7673, "certificates of other servers in the name service (DANE, RFC 6698, RFC 7671), where the resolver is trusted"),
		module.RFC(5802, "SCRAM, with SHA-1, SHA-256 (RFC 7677) and SHA-512, and their -PLUS"),
		module.RFC(7628, "OAUTHBEARER"),
		module.RFC(9266, "tls-exporter; tls-server-end-point by RFC 5929"),
		module.XEP(114, "1.6").Partly("jabber:component:accept"),
		module.XEP(178, "1.2"),
		module.XEP(185, "1.0"),
		module.XEP(198, "1.6.3"),
		module.XEP(220, "1.1.1"),
		module.XEP(288, "1.0.1"),
		module.XEP(368, "1.1.0"),
		module.XEP(386, "1.1.0"),
		module.XEP(388, "1.0.4"),
		module.XEP(440, "1.0.0"),
		module.XEP(474, "0.5.0"),
		module.XEP(478, "0.2.0"),
		module.XEP(480, "0.2.0").Partly("SCRAM"),
		module.XEP(484, "0.2.0").Partly("no TLS 0-RTT; without tls-unique"),
		module.XEP(509, "0.2.0"),
		module.XEP(515, "0.1.0"),
	}
}
