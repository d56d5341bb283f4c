#!/usr/bin/env bash
# What is tested in other languages: tests/others.sh PATH-OF-SIDEGATE
#
# The packing of the image, and the unchanged Dapr SDKs against a real sidecar. Installs each SDK by
# its pinned versions into a cache outside the tree. What this machine cannot run is counted as
# skipped with the reason; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

sidegate=${1:?path of the program sidegate}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/sdk
results=$(mktemp)
trap 'rm -f "$results"' EXIT
reasons=()

# The folder of an installation, named after everything that decides what is in it.
folder() {
    local language=$1
    shift
    echo "$cache/$language-$(cat "$@" | sha256sum | cut -c 1-16)"
}

install_python() {
    local into=$1
    [ -e "$into/complete" ] && return
    rm -rf "$into" && python3 -m venv "$into" &&
        "$into/bin/pip" install --quiet --no-deps --requirement tests/sdk/python/requirements.txt &&
        touch "$into/complete"
}

install_javascript() {
    local into=$1
    [ -e "$into/complete" ] && return
    rm -rf "$into" && mkdir -p "$into" &&
        cp tests/sdk/javascript/package*.json "$into" &&
        npm --prefix "$into" ci --silent --no-audit --no-fund --ignore-scripts &&
        touch "$into/complete"
}

# Runs a program as the app of a sidecar with both tokens. It writes a line for each of its cases;
# one that ends before its first case, or badly though all passed, is a failure too.
drive() {
    local name=$1 code=0 cases=$results.$1
    shift
    : >"$cases"
    SDK_RESULTS=$cases "$sidegate" run --app-id sdk --resources-path tests/sdk/resources \
        --config tests/sdk/configuration.yaml --log-level warn -- "$@" || code=$?
    if [ ! -s "$cases" ] || { [ "$code" != 0 ] && ! grep -q '^FAIL ' "$cases"; }; then
        echo "FAIL $name ended with code $code" >>"$cases"
    fi
    cat "$cases" >>"$results"
    rm "$cases"
}

skip() {
    reasons+=("skipped: $1: $2")
}

if ! command -v python3 >/dev/null; then
    skip image "no python3"
    skip python "no python3"
else
    outcome=PASS
    (cd image && python3 -B -m unittest --quiet test_pack) || outcome=FAIL
    echo "$outcome image packs what container runtimes read" >>"$results"
    into=$(folder python tests/sdk/python/requirements.txt <(python3 --version))
    if install_python "$into"; then
        drive python "$into/bin/python" tests/sdk/python/cases.py
    else
        skip python "cannot install tests/sdk/python/requirements.txt"
    fi
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip javascript "no node or npm"
else
    into=$(folder javascript tests/sdk/javascript/package-lock.json <(node --version))
    if install_javascript "$into"; then
        NODE_PATH=$into/node_modules drive javascript node tests/sdk/javascript/cases.cjs
    else
        skip javascript "cannot install tests/sdk/javascript/package-lock.json"
    fi
fi

sort "$results"
passed=$(grep -c '^PASS ' "$results" || true)
failed=$(grep -c '^FAIL ' "$results" || true)
[ "${#reasons[@]}" = 0 ] || printf '%s\n' "${reasons[@]}"
echo "other languages: $passed passed, $failed failed, ${#reasons[@]} skipped"
[ "$failed" = 0 ] || exit 1
if [ "${#reasons[@]}" -gt 0 ] && [ "${CI:-}" = true ]; then
    echo "a skip is a failure where CI=true" >&2
    exit 1
fi
