package client

import (
	"kith/xmpp/negotiate"
	"kith/xmpp/xep/mfa"
	"kith/xmpp/xmltree"
)

// tasks are those of the configuration, and the code of a second factor.
func (c *Config) tasks(name string) negotiate.ClientTask {
	if name == mfa.Task && c.Code != nil {
		return codeTask{c.Code}
	}
	if c.Tasks == nil {
		return nil
	}
	return c.Tasks(name)
}

// codeTask gives the code of a second factor when the server asks for it.
type codeTask struct{ ask func() (string, error) }

// Start implements negotiate.ClientTask.
func (codeTask) Start() xmltree.Appender { return nil }

// Next implements negotiate.ClientTask.
func (t codeTask) Next(xmltree.Element) (xmltree.Appender, error) {
	code, err := t.ask()
	return mfa.Code(code), err
}
