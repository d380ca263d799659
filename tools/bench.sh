#!/usr/bin/env bash
# Measures a server that it starts on loopback, briefly, runs the Go benchmarks, and prints one table.
#
#   tools/bench.sh PATTERN      of the Go benchmarks; - for none
#
# These figures show what a change does. For comparing servers measure longer, see docs/manual/bench.md.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
kith=$PWD/bin/kith
dir=$(mktemp -d)
pid=
finish() {
	[ -z "$pid" ] || { kill "$pid" && wait "$pid" || true; }
	rm -rf "$dir"
}
trap finish EXIT

port=${BENCH_PORT:-15222}
cat >"$dir/local.toml" <<EOF
[listen]
client = ["127.0.0.1:$port"]
client_tls = ["127.0.0.1:$((port + 1))"]
server = []
server_tls = []
admin = ["127.0.0.1:$((port + 2))"]
[log]
level = "error"
EOF
"$kith" serve --local --config "$dir/local.toml" --data "$dir/data" >"$dir/log" 2>&1 &
pid=$!
for _ in {1..100}; do
	"$kith" status --data "$dir/data" >"$dir/status" 2>&1 && break
	kill -0 "$pid" 2>/dev/null || { cat "$dir/log" >&2; echo "the server did not start; is port $port in use? BENCH_PORT=N takes another" >&2; exit 1; }
	sleep 0.1
done

measure() { # measure SCENARIO CASE FLAG...
	local scenario=$1 case=$2
	shift 2
	echo "kith bench $scenario $*" >&2
	"$kith" bench "$scenario" --address "127.0.0.1:$port" --ca "$dir/data/localhost.crt" --server-pid "$pid" \
		--label "kith/$case" --json "$@" >>"$dir/figures"
}
measure register register --count 203
measure idle idle-200 200 --settle 5s
measure login login --count 100 --stages tls,full
steady=(--warmup 1s --duration 2s)
measure chat chat-w1 --window 1 "${steady[@]}"
measure chat chat-w16 --window 16 "${steady[@]}"
measure chat chat-500/s --rate 500 "${steady[@]}"
measure presence presence-w8 --accounts 50 --contacts 10 --window 8 "${steady[@]}"
measure phone phone --day 40s
measure offline offline --messages 1000
measure archive archive --messages 200
if [ "$1" != - ]; then
	echo "go test -bench $1" >&2
	$go test -run '^$' -bench "$1" -benchmem ./... >"$dir/benchmarks"
	"$kith" bench table "$dir/figures" "$dir/benchmarks"
else
	"$kith" bench table "$dir/figures"
fi
