# What people type; see the README. Everything else is in CONTRIBUTING.md.
SHELL       := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
BENCH   ?= .
FUZZTIME ?= 30s
# The race detector needs a C compiler; the program itself does not. It does not look into what was translated from C, which has no
# goroutines: that would take half of its time. The driver around it, and all else, it watches.
RACE    := $(if $(shell command -v $${CC:-cc}),-race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc/...=-race=false)
# Under it each test binary lingers for a second at its end.
export GORACE ?= atexit_sleep_ms=50
export GO

.PHONY: build run test check bench fuzz generate clean

build:
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/kith ./cmd/kith

run: build
	@bin/kith serve --local

# The last line is testsum's: N passed, N failed, N skipped. A check or test that could not even be built counts as failed.
test:
	@mkdir -p bin
	@rm -f bin/test.log
	@bash interop/install.sh
	@$(GO) build -o bin/testsum ./interop/cmd/testsum
	@{ failed=0; \
	   tools/checks.sh build gofmt vet staticcheck alloc crowd generated lint govulncheck | $(GO) tool test2json -p kith/checks || failed=1; \
	   GOGC=400 $(GO) test $(RACE) -vet=off -json ./... || failed=1; \
	   $(GO) test -tags interop -vet=off -json -count=1 -timeout 30m -parallel 4 ./interop/... || failed=1; \
	   exit $$failed; } | bin/testsum | tee bin/test.log

# Needs no database server: what is tested on PostgreSQL is skipped, also where there is one.
check:
	@tools/checks.sh gofmt vet staticcheck alloc crowd
	@KITH_POSTGRES=off GOGC=400 $(GO) test $(RACE) -vet=off ./...

# The benchmarks in the code, and short measurements of a server of its own, in one table.
bench: build
	@tools/bench.sh '$(BENCH)'

# Every fuzz target there is, each for FUZZTIME.
fuzz:
	@tools/fuzz.sh $(FUZZTIME)

generate:
	@$(GO) generate ./...

clean:
	@rm -rf bin
