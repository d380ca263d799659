package anonymous_test

import (
	"testing"

	"kith/xmpptest"
)

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }
