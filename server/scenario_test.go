package server_test

import (
	"testing"

	"go.uber.org/goleak"

	"kith/xmpptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScenarios(t *testing.T) { xmpptest.Run(t, "testdata/*.xmpp") }
