//go:build race

package server_test

// race: the detector makes everything ten times as slow, so that crowds are
// small. The whole crowds come without it (tools/checks.sh crowd).
const race = true
