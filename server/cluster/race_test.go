//go:build race

package cluster_test

// race: the detector makes pools forget, so that allocations are not counted.
const race = true
