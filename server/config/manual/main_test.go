package main

import (
	"bytes"
	"os"
	"testing"
)

// TestPage: the page in the manual is what the comments say today.
func TestPage(t *testing.T) {
	want, err := page("..", "../../module")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/manual/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/manual/configuration.md is not what the comments in server/config say; run: make generate")
	}
}
