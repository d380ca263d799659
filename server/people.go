package server

import (
	"fmt"

	"kith/server/account"
	"kith/server/account/ldap"
	"kith/server/account/oidc"
	"kith/server/config"
)

// people are the directories and the issuers of a configuration.
type people struct {
	of     map[string]account.People // by host
	closes []func()
}

// newPeople makes what the people of each host come from. Nobody is asked for
// anything yet: who cannot be reached keeps the server from nothing.
func newPeople(c *config.Config) (people, error) {
	p := people{of: make(map[string]account.People)}
	for _, host := range c.Hosts {
		from := account.People{Anonymous: c.AnonymousReach(host) != config.Nowhere}
		if conf, ok := c.OIDC[host.Domain()]; ok {
			issuer, err := oidc.New(host, conf, nil)
			if err != nil {
				return people{}, fmt.Errorf("host %s: %w", host, err)
			}
			from.Issuer = issuer
		}
		if conf, ok := c.LDAP[host.Domain()]; ok {
			directory, err := ldap.New(conf)
			if err != nil {
				return people{}, fmt.Errorf("host %s: %w", host, err)
			}
			from.Directory = directory
			p.closes = append(p.closes, directory.Close)
		}
		p.of[host.Domain()] = from
	}
	return p, nil
}

func (p people) close() {
	for _, f := range p.closes {
		f()
	}
}
