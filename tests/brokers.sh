#!/usr/bin/env bash
# Message brokers and databases for real: tests/brokers.sh PATH-OF-SIDEGATE
# Only gets them, and prints their folder: tests/brokers.sh --servers
#
# Redis, RabbitMQ and PostgreSQL come from packages of the distribution, which are taken apart into a
# cache outside the tree: nothing is installed, no service starts, and root is not needed. The NATS server
# is built from its Go module, whose sums are pinned. Where they cannot be had, all of it is counted
# as skipped with the reason; with CI=true that is a failure. So is what needs a server of secrets
# (tests/stores.sh) or the SDKs of the quickstarts (tests/sdk/install) besides. BROKERS_ONLY=redis::
# runs a part, and BROKERS_FEATURES="--features …" are those that the tests themselves are built with.
set -euo pipefail
cd "$(dirname "$0")/.."

sidegate=$(realpath -m -- "${1:?path of the program sidegate, or --servers}")
here=tests/brokers
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/brokers

skip() {
    echo "skipped: brokers: $1"
    echo "message brokers for real: 1 skipped"
    [ "${CI:-}" != true ] || { echo "a skip is a failure where CI=true" >&2; exit 1; }
    exit 0
}

# Lists and archives of its own, so that the machine's are neither needed nor touched.
options=(-o Dir::State::lists="$cache/apt/lists" -o Dir::Cache="$cache/apt"
    -o APT::Sandbox::User= -o Debug::NoLocking=1)
apt() {
    apt-get -qq "${options[@]}" "$@"
}

# The packages that a package depends on, of them and of what they depend on the same.
depends() {
    apt-cache "${options[@]}" --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances depends "$@" | sed -n 's/^\([a-z][^: ]*\)$/\1/p' | sort -u
}

# The PostgreSQL that the distribution has, whose package has its version in its name, and the
# libraries that it is linked with. Those of the compiler are the machine's own, or not needed.
postgresql() {
    local server libraries
    server=$(apt-cache "${options[@]}" depends postgresql |
        sed -n 's/^ *Depends: \(postgresql-[0-9]*\)$/\1/p' | head -1)
    [ -n "$server" ] || return 1
    libraries=$(apt-cache "${options[@]}" depends "$server" |
        sed -n 's/^ *Depends: \(lib[a-z][^ ]*\)$/\1/p' | grep -v '^libllvm')
    echo "$server"
    # One package a word.
    # shellcheck disable=SC2086
    depends $libraries | grep '^lib' |
        grep -vE '^(libc6|libcrypt1|libgcc-s1|libstdc\+\+6|libelogind0|libc-bin)$'
}

# Puts the files of the packages below a folder.
unpack() {
    local into=$1 package packages
    packages=$(grep -v '^#' "$here/packages.txt")
    rm -rf "$into" "$cache/apt" && mkdir -p "$into/packages" "$cache/apt/lists/partial"
    apt update || return 1
    packages="$packages $(postgresql)" || return 1
    # One package a word.
    # shellcheck disable=SC2086
    (cd "$into/packages" && apt download $packages) || return 1
    for package in "$into"/packages/*.deb; do
        dpkg-deb --extract "$package" "$into" || return 1
    done
    rm -rf "$into/packages" "$cache/apt"
    # Erlang is told at its build where it lies.
    sed -i "s|/usr/lib/erlang|$into/usr/lib/erlang|" \
        "$into"/usr/lib/erlang/bin/erl "$into"/usr/lib/erlang/erts-*/bin/erl
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "no apt-get (Debian, Ubuntu)"
command -v go >/dev/null || skip "no go"
stamp=$(cat "$here/packages.txt" "$0" /etc/os-release | sha256sum | cut -c 1-16)
servers=$cache/$stamp
if [ ! -e "$servers/complete" ]; then
    unpack "$servers" && touch "$servers/complete" || skip "cannot get the packages of $here/packages.txt"
fi
# Go keeps what it built by itself, and looks for changes in a second.
(cd "$here/nats-server" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath \
    -o "$servers/usr/bin/" github.com/nats-io/nats-server/v2) || skip "cannot build $here/nats-server"

if [ "$1" = --servers ]; then
    echo "$servers"
    exit
fi
# other COMMAND...: what it prints, or nothing where this machine cannot have it.
other() {
    "$@" || [ "${CI:-}" != true ]
}
stores=$(other tests/stores.sh --servers)
python=$(other tests/sdk/install python)
javascript=$(other tests/sdk/install javascript)

start=$SECONDS
export STORE_SERVERS=$stores SDK_PYTHON=$python SDK_JAVASCRIPT=$javascript
BROKER_SERVERS=$servers SIDEGATE=$sidegate "${CARGO:-cargo}" test --locked ${BROKERS_FEATURES:-} --test brokers -- \
    --nocapture --test-threads "${BROKERS_THREADS:-2}" ${BROKERS_ONLY:-}
seconds=$((SECONDS - start))
echo "message brokers for real: $((seconds / 60)).$((seconds % 60 / 6)) minutes"
