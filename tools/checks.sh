#!/usr/bin/env bash
# Runs the checks that are not Go tests, and reports them as go test -v would, so that go tool test2json understands it.
#
#   tools/checks.sh NAME...        names: build gofmt vet staticcheck alloc crowd generated lint govulncheck
#
# Exit status 1 if one failed. A check that cannot run here is skipped, with the reason.
set -u
cd "$(dirname "$0")/.." || exit 1
go=${GO:-go}
skip=77 # a check's exit status: cannot run here

gofiles() {
	find . \( -name node_modules -o -name testdata -o -path './.*' -o -path ./bin \) -prune -o -name '*.go' -print
}

check_build() { make --no-print-directory build; }

check_gofmt() {
	local wrong
	wrong=$(gofiles | xargs gofmt -l) || return 1
	[ -z "$wrong" ] && return
	echo "not formatted; run gofmt -w on:"
	echo "$wrong"
	return 1
}

check_vet() { $go vet ./... && $go vet -tags interop ./interop/...; }

# Without ST1012: an error that is no failure but a word to the caller (module.Stop, like fs.SkipDir) is not named Err.
check_staticcheck() { $go tool -modfile=tools/go.mod staticcheck -checks inherit,-ST1012 ./...; }

# Allocations cannot be counted under the race detector, so their bounds run without it.
check_alloc() { $go test -vet=off -run Alloc $(grep -rlE "^func Test\w*Alloc" --include=*_test.go client server xmpp | xargs -n1 dirname | sort -u | sed "s,^,./,"); }

# What the race detector makes too slow is small under it, and whole here.
check_crowd() { $go test -vet=off -run 'Crowd|TestDevices$|TestSplits$|TestDeepNesting$|TestSkipMemory$' ./server ./xmpp/xmltree; }

check_lint() { $go tool -modfile=tools/lint/go.mod golangci-lint run -c tools/golangci.yml ./...; }

# Files that carry the mark of a generator, and their sums.
generated() {
	grep -rlE '^(//|<!--) Code generated .* DO NOT EDIT\.' --include='*.go' --include='*.md' \
		--exclude-dir=node_modules --exclude-dir='.?*' --exclude-dir=bin . | sort | xargs sha256sum
}

check_generated() {
	local before after
	before=$(generated)
	$go generate ./... || return 1
	after=$(generated)
	[ "$before" = "$after" ] && return
	echo "generated files were not up to date; they are now, look at them and commit:"
	diff <(echo "$before") <(echo "$after") | sed -n 's/^> [0-9a-f]*//p'
	return 1
}

check_govulncheck() {
	local out rc
	out=$(timeout 300 "$go" tool -modfile=tools/go.mod govulncheck ./... 2>&1)
	rc=$?
	echo "$out"
	case $rc,$out in
	0,*) ;;
	124,* | *"fetching vulnerabilities"*)
		echo "the vulnerability database is out of reach"
		return $skip
		;;
	*) return 1 ;;
	esac
}

failed=0
for name; do
	echo "=== RUN   $name"
	begin=${EPOCHREALTIME/[.,]/}
	out=$("check_$name" 2>&1)
	rc=$?
	printf -v took '%d.%02d' $(((${EPOCHREALTIME/[.,]/} - begin) / 1000000)) $(((${EPOCHREALTIME/[.,]/} - begin) / 10000 % 100))
	verdict=PASS
	[ $rc -eq 0 ] || verdict=FAIL
	[ $rc -eq $skip ] && verdict=SKIP
	[ $verdict = FAIL ] && failed=1
	[ -n "$out" ] && [ $verdict != PASS ] && sed 's/^/    /' <<<"$out"
	echo "--- $verdict: $name (${took}s)"
done
[ $failed -eq 0 ] && echo PASS || echo FAIL
exit $failed
