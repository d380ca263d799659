package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"kith/server/web"
)

// What the commands make of answers that a server of this version, and in good
// health, does not give.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		json   bool
		want   string
	}{
		{"unwell", 200, `{"healthy":false,"problem":"disk full"}`, false, "the server is not well: disk full; its log says more"},
		{"unwell, as JSON", 200, `{"healthy":false,"problem":"disk full"}`, true, "the server is not well: disk full; its log says more"},
		{"well", 200, `{"healthy":true}`, true, ""},
		{"refused", 503, `{"error":"list accounts: the database does not answer; the log says why"}`, false, "list accounts: the database does not answer; the log says why"},
		{"another version", 404, "404 page not found\n", false, "ask the server: 404 Not Found; is it of the same version as this command?"},
		{"another program", 200, "hello", false, "read the server's answer: "},
	}
	quiet(t)
	for _, tt := range tests {
		data := t.TempDir()
		l, err := web.ListenControl(data)
		if err != nil {
			t.Fatal(err)
		}
		s := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		})}
		done := make(chan error)
		go func() { done <- s.Serve(l) }()
		got := ""
		if err := (statusCmd{where: where{Data: data}, JSON: tt.json}).Run(); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: an answer of %d %s gives %q, want %q", tt.name, tt.status, tt.body, got, tt.want)
		}
		s.Close()
		<-done
	}
}

// quiet has what a command prints go nowhere.
func quiet(t *testing.T) {
	t.Helper()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := os.Stdout
	os.Stdout = nowhere
	t.Cleanup(func() {
		os.Stdout = out
		nowhere.Close() // only written to
	})
}
