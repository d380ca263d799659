#!/bin/sh
# Installs the programs that the interop tests talk to. Does nothing, quickly,
# where all of them are present.
#
#   interop/install.sh
#
# Debian's packages need root. Whatever cannot be installed is listed with the
# tests that will be skipped, and the exit status is 0 all the same: under
# CI=true the tests themselves fail for a missing peer.
# KITH_INTEROP_CACHE names the directory of the Python environment (default:
# kith-interop in the user's cache directory).
set -u
here=$(cd "$(dirname "$0")" && pwd)
cache=${KITH_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kith-interop}
missing=

say() { echo "interop: $*"; }
lacks() { missing="$missing
  $1: $2"; }

# --- Debian -----------------------------------------------------------------
# One line for each package: package, how its presence is seen, what for.
wanted() {
	cat <<'LIST'
prosody|command -v prosody|the server that proves the tests themselves
postgresql|test -n "$(command -v initdb; find /usr/lib/postgresql -name initdb 2>/dev/null)"|the other database; a server of the tests' own
ejabberd|ls -d /usr/lib/*/ejabberd-* >/dev/null 2>&1|another server, to speak with
mcabber|command -v mcabber|a client for the terminal
profanity|command -v profanity|another one, that blocks and resumes
tmux|command -v tmux|the terminal in which these clients run
biboumi|command -v biboumi|a gateway to IRC, as a component
ngircd|command -v ngircd|the IRC server behind it
gsasl|command -v gsasl|SCRAM with channel binding, computed by others
python3|command -v python3|puppets of slixmpp
python3-venv|test -e /usr/lib/python3/dist-packages/ensurepip -o -n "$(find /usr/lib/python3* -maxdepth 1 -name ensurepip 2>/dev/null)"|the environment slixmpp is installed in
python3-gi|test -d /usr/lib/python3/dist-packages/gi|GLib for nbxmpp
gir1.2-soup-3.0|ls /usr/lib/*/girepository-1.0/Soup-3.0.typelib >/dev/null 2>&1|HTTP for nbxmpp
glib-networking|ls /usr/lib/*/gio/modules/libgiognutls.so >/dev/null 2>&1|TLS for nbxmpp
openssl|command -v openssl|TLS, whose sessions are resumed
libmagic1|ls /usr/lib/*/libmagic.so.1 >/dev/null 2>&1|what slidge tells files apart with
nodejs|command -v node|puppets of @xmpp/client
npm|command -v npm|installs @xmpp/client and oidc-provider
slapd|test -x /usr/sbin/slapd|a directory (LDAP) that knows people; one of the tests' own
unbound|test -x /usr/sbin/unbound|a resolver that validates (DNSSEC); one of the tests' own
ldnsutils|command -v ldns-signzone|signs a zone for it
LIST
}

need=
while IFS='|' read -r package seen why; do
	eval "$seen" >/dev/null 2>&1 && continue
	say "needs $package: $why"
	need="$need $package"
done <<LIST
$(wanted)
LIST

policy=/usr/sbin/policy-rc.d
apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends "$@" >"$log" 2>&1; }
if [ -n "$need" ]; then
	if ! command -v apt-get >/dev/null; then
		say "no apt-get here; install by other means:$need"
	elif [ "$(id -u)" -ne 0 ]; then
		say "not root; to install: sudo apt-get install --no-install-recommends$need"
	else
		log=$(mktemp)
		# A policy that forbids it keeps the packaged servers from being started.
		made=
		if [ ! -e $policy ]; then
			made=$policy
			printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
		fi
		trap 'rm -f "$log" $made' EXIT
		say "installing$need"
		# shellcheck disable=SC2086
		apt install $need || { apt update; apt install $need; } || tail -n 5 "$log"
		# Nor may it come up at the next boot.
		if [ -n "$made" ] && [ -d /run/systemd/system ]; then
			for service in prosody ejabberd postgresql slapd biboumi ngircd unbound; do
				case $need in *$service*) systemctl disable --quiet $service ;; esac
			done
		fi
	fi
	while IFS='|' read -r package seen why; do
		eval "$seen" >/dev/null 2>&1 || lacks "$package" "$why"
	done <<LIST
$(wanted)
LIST
fi

# --- Python -----------------------------------------------------------------
# From PyPI, pinned, each in an environment of its own: Debian's are years behind
# and seen by one Python only.
venv() { # NAME WHAT
	venv=$cache/$1
	cmp -s "$here/$1/requirements.txt" "$venv/installed.txt" && return
	say "installing $1 in $venv: $2"
	python=/usr/bin/python3
	[ -x $python ] || python=python3
	if rm -rf "$venv" && $python -m venv "$venv" &&
		"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/$1/requirements.txt"; then
		cp "$here/$1/requirements.txt" "$venv/installed.txt"
	else
		lacks "$1" "$2"
	fi
}

venv slixmpp "a client library in Python"
venv nbxmpp "Gajim's client library in Python"
venv slidge "a gateway, as a component with privileges"
if [ -e "$cache/slidge/installed.txt" ] && [ ! -e "$cache/slidge/demo/superduper" ]; then
	say "unpacking slidge's demo module in $cache/slidge/demo"
	"$cache/slidge/bin/python" "$here/slidge/demo.py" "$cache/slidge/demo" || lacks "slidge's demo module" "a gateway that others wrote to the end"
fi

# --- @xmpp/client -----------------------------------------------------------
if ! cmp -s "$here/xmppjs/package-lock.json" "$here/xmppjs/node_modules/installed.json"; then
	say "installing @xmpp/client in interop/xmppjs/node_modules: a client library in JavaScript"
	if (cd "$here/xmppjs" && npm ci --silent --no-audit --no-fund --ignore-scripts); then
		cp "$here/xmppjs/package-lock.json" "$here/xmppjs/node_modules/installed.json"
	else
		lacks @xmpp/client "a client library in JavaScript"
	fi
fi

# --- oidc-provider ----------------------------------------------------------
if ! cmp -s "$here/issuer/package-lock.json" "$here/issuer/node_modules/installed.json"; then
	say "installing oidc-provider in interop/issuer/node_modules: an issuer of tokens"
	if (cd "$here/issuer" && npm ci --silent --no-audit --no-fund --ignore-scripts); then
		cp "$here/issuer/package-lock.json" "$here/issuer/node_modules/installed.json"
	else
		lacks oidc-provider "an issuer of tokens"
	fi
fi

if [ -n "$missing" ]; then
	say "could not be installed, so that their tests are skipped:$missing"
fi
