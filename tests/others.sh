#!/usr/bin/env bash
# What is tested in other languages: tests/others.sh PATH-OF-SIDEGATE
#
# The packing of the image; the unchanged Dapr SDKs against a real sidecar, and with each other
# through two of them; messages that they publish and get; what sidecars send each other against
# Dapr's own stubs. Installs each SDK by its pinned versions into a cache outside the tree. What this machine cannot run is counted as
# skipped with the reason; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

sidegate=$(realpath "${1:?path of the program sidegate}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/sdk
work=$(mktemp -d)
results=$work/results
touch "$results"
servers=() # the programs that serve, by process id
finish() {
    [ "${#servers[@]}" = 0 ] || kill "${servers[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT
# Sidecars on one machine find each other by files in this folder: these find nobody else's.
export XDG_RUNTIME_DIR=$work
reasons=()

# The folder of an installation, named after everything that decides what is in it.
folder() {
    local language=$1
    shift
    echo "$cache/$language-$(cat "$@" | sha256sum | cut -c 1-16)"
}

# Go keeps what it built by itself, and looks for changes in a second.
install_go() {
    mkdir -p "$1" && (cd tests/sdk/go && GOFLAGS=-mod=readonly go build -trimpath -o "$1" .)
}

install_java() {
    local into=$1
    [ -e "$into/complete" ] && return
    rm -rf "$into" &&
        mvn --batch-mode --quiet --file tests/sdk/java/pom.xml dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$into/packages" -Dstyle.color=never &&
        javac -d "$into/classes" -cp "$into/packages/*" tests/sdk/java/*.java &&
        touch "$into/complete"
}

# Cargo keeps what it built by itself, as Go does.
install_rust() {
    cargo build --locked --quiet --manifest-path tests/sdk/rust/Cargo.toml --target-dir "$1"
}

# Runs a program that writes a line for each of its cases; one that ends before its first case, or
# badly though all passed, is a failure too.
drive() {
    local name=$1 code=0 cases=$work/cases
    shift
    : >"$cases"
    SDK_RESULTS=$cases "$@" || code=$?
    if [ ! -s "$cases" ] || { [ "$code" != 0 ] && ! grep -q '^FAIL ' "$cases"; }; then
        echo "FAIL $name ended with code $code" >>"$cases"
    fi
    cat "$cases" >>"$results"
}

# Runs a program as the app of a sidecar with both tokens.
drive_app() {
    local name=$1
    shift
    drive "$name" "$sidegate" run --app-id sdk --resources-path tests/sdk/resources \
        --config tests/sdk/configuration.yaml --log-level warn -- "$@"
}

# Starts an app with its sidecar that others invoke, up to the end of this script.
serve() {
    local name=$1 protocol=$2
    shift 2
    "$sidegate" run --app-id "callee-$name" --app-protocol "$protocol" --log-level warn -- "$@" &
    servers+=($!)
    served+=("callee-$name")
}

# Runs a program as an app with its sidecar that invokes those that are served, but itself.
drive_caller() {
    local name=$1 others=${served[*]}
    shift
    [ "$name" = go ] || others=${others/callee-$name/}
    SDK_CALLEES=$(echo $others) drive "$name" \
        "$sidegate" run --app-id "caller-$name" --log-level warn -- "$@"
}

# Starts what is behind the output binding of those that use one.
serve_outside() {
    python3 -B tests/sdk/outside.py "$work/outside" &
    servers+=($!)
    for _ in $(seq 100); do
        [ -e "$work/outside" ] && break
        sleep 0.1
    done
    SDK_OUTSIDE=$(cat "$work/outside")
    export SDK_OUTSIDE
}

# Runs a program as an app that publishes and gets messages, and uses bindings.
drive_messages() {
    local name=$1 protocol=$2
    shift 2
    drive "$name" "$sidegate" run --app-id "messages-$name" --app-protocol "$protocol" \
        --resources-path tests/sdk/messages --log-level warn -- "$@"
}

skip() {
    reasons+=("skipped: $1: $2")
}

python=() javascript=() go=() java=() rust=() served=()

if ! command -v python3 >/dev/null; then
    skip image "no python3"
    skip python "no python3"
else
    outcome=PASS
    (cd image && python3 -B -m unittest --quiet test_pack) || outcome=FAIL
    echo "$outcome image packs what container runtimes read" >>"$results"
    if into=$(tests/sdk/install python); then
        python=("$into/bin/python" -B)
    else
        skip python "cannot install tests/sdk/python/requirements.txt"
    fi
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skip javascript "no node or npm"
else
    if into=$(tests/sdk/install javascript); then
        javascript=(env "NODE_PATH=$into/node_modules" node)
    else
        skip javascript "cannot install tests/sdk/javascript/package-lock.json"
    fi
fi

if ! command -v go >/dev/null; then
    skip go "no go"
else
    into=$(folder go tests/sdk/go/go.{mod,sum} <(go version))
    if install_go "$into/sdk"; then
        go=("$into/sdk/sidegate-sdk-tests")
    else
        skip go "cannot build tests/sdk/go"
    fi
fi

if ! command -v javac >/dev/null || ! command -v mvn >/dev/null; then
    skip java "no javac or mvn"
else
    into=$(folder java tests/sdk/java/* <(java --version))
    if install_java "$into"; then
        java=(java -cp "$into/classes:$into/packages/*" Messages)
    else
        skip java "cannot build tests/sdk/java"
    fi
fi

if ! command -v cargo >/dev/null; then
    skip rust "no cargo"
else
    into=$(folder rust tests/sdk/rust/Cargo.{toml,lock} <(rustc --version))
    if install_rust "$into"; then
        rust=("$into/debug/sidegate-sdk-tests")
    else
        skip rust "cannot build tests/sdk/rust"
    fi
fi

cases=tests/sdk
[ "${#python[@]}" = 0 ] || serve python grpc "${python[@]}" $cases/python/app.py
[ "${#javascript[@]}" = 0 ] || serve javascript http "${javascript[@]}" $cases/javascript/app.cjs
[ "${#go[@]}" = 0 ] || serve go grpc "${go[@]}" app
if [ "${#python[@]}" != 0 ]; then
    drive_app python "${python[@]}" $cases/python/cases.py
    drive_caller python "${python[@]}" $cases/python/invocation.py
fi
if [ "${#javascript[@]}" != 0 ]; then
    drive_app javascript "${javascript[@]}" $cases/javascript/cases.cjs
    drive_caller javascript "${javascript[@]}" $cases/javascript/invocation.cjs
fi
if [ "${#go[@]}" != 0 ]; then
    drive_caller go "${go[@]}" invocation
    drive go "${go[@]}" wire "$sidegate"
fi

if ! command -v python3 >/dev/null; then
    skip messages "no python3"
else
    serve_outside
    [ "${#python[@]}" = 0 ] || drive_messages python grpc "${python[@]}" $cases/python/messages.py
    [ "${#javascript[@]}" = 0 ] ||
        drive_messages javascript http "${javascript[@]}" $cases/javascript/messages.cjs
    [ "${#go[@]}" = 0 ] || drive_messages go http "${go[@]}" messages
    [ "${#java[@]}" = 0 ] || drive_messages java grpc "${java[@]}"
    [ "${#rust[@]}" = 0 ] || drive_messages rust grpc "${rust[@]}"
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
