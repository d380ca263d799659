package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"
)

var secretOf = regexp.MustCompile(`secret=([A-Z2-7]+)`)

// enrol sets up a second factor as a person does: it reads the secret, and types
// the code.
func enrol(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: enrol JID")
	}
	self, err := exec.LookPath("kith")
	if err != nil {
		self, err = os.Executable()
	}
	ts.Check(err)
	cmd := exec.Command(self, "account", "factor", args[0], "--set-up")
	cmd.Args[0], cmd.Dir, cmd.Stderr = "kith", ts.MkAbs("."), ts.Stderr()
	in, err := cmd.StdinPipe()
	ts.Check(err)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := secretOf.FindStringSubmatch(lines.Text()); m != nil {
			code, err := totp.GenerateCode(m[1], time.Now())
			ts.Check(err)
			_, err = io.WriteString(in, code+"\n")
			ts.Check(err)
		}
		_, err := io.WriteString(ts.Stdout(), lines.Text()+"\n")
		ts.Check(err)
	}
	ts.Check(cmd.Wait())
}
