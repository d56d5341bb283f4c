#!/usr/bin/env bash
# What is tested in other languages: tests/others.sh PATH-OF-SIDEGATE
#
# The packing of the image; the common script (tests/sdk/steps.txt) with the unchanged Dapr SDKs, each
# against a real sidecar; the SDKs with each other through two of them; what sidecars send each other
# against Dapr's own stubs. Prints what each SDK can do; docs/sdks.md has to show the same, and is
# written anew with UPDATE_DOCS=1. Installs each SDK by its pinned versions into a cache outside the
# tree. What this machine cannot run is counted as skipped with the reason; with CI=true that is a
# failure.
set -euo pipefail
cd "$(dirname "$0")/.."

sidegate=$(realpath "${1:?path of the program sidegate}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/sdk
work=$(mktemp -d)
results=$work/results # a file for each program
mkdir "$results"
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
    local name=$1 code=0 cases=$results/$1
    shift
    SDK_RESULTS=$cases "$@" || code=$?
    if [ ! -s "$cases" ] || { [ "$code" != 0 ] && ! grep -q '^FAIL ' "$cases"; }; then
        echo "FAIL $name ended with code $code" >>"$cases"
    fi
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
    SDK_CALLEES=$(echo $others) drive "caller-$name" \
        "$sidegate" run --app-id "caller-$name" --log-level warn -- "$@"
}

# Starts what is behind the output binding of the common script.
serve_outside() {
    python3 -B tests/sdk/outside.py "$work/outside" &
    servers+=($!)
    for _ in $(seq 600); do
        [ -e "$work/outside" ] && break
        sleep 0.1
    done
    SDK_OUTSIDE=$(cat "$work/outside")
    export SDK_OUTSIDE
}

free_port() {
    python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts the Redis of the common script, with the password that the secret store has; false where
# this machine has none.
serve_redis() {
    local folder password port program=redis-server
    folder=$(tests/brokers.sh --servers | tail -n 1)
    local -a environment=()
    if [ -x "$folder/usr/bin/redis-server" ]; then
        program=$folder/usr/bin/redis-server
        environment=("LD_LIBRARY_PATH=$(echo "$folder"/usr/lib/*-linux-gnu)")
    fi
    command -v "$program" >/dev/null || return 1
    password=$(python3 -c 'import json; print(json.load(open("tests/sdk/secrets.json"))["redis-password"])')
    # Another program can take a free port before Redis does.
    for _ in $(seq 5); do
        port=$(free_port)
        env "${environment[@]}" "$program" - >"$work/redis.log" <<EOF &
bind 127.0.0.1
port $port
dir $work
save ""
requirepass "$password"
notify-keyspace-events KEA
EOF
        local redis=$!
        for _ in $(seq 600); do
            if grep -q 'Ready to accept connections' "$work/redis.log"; then
                servers+=("$redis")
                export SDK_REDIS=127.0.0.1:$port
                return
            fi
            kill -0 "$redis" 2>/dev/null || break
            sleep 0.1
        done
    done
    return 1
}

# Takes the steps of the common script with a program, as the app of a sidecar with both tokens, while
# others do.
take_steps() {
    local name=$1 app_protocol=$2
    shift 2
    drive "$name" "$sidegate" run --app-id "steps-$name" --app-protocol "$app_protocol" \
        --resources-path tests/sdk/resources --config tests/sdk/configuration.yaml \
        --log-level warn -- "$@" &
    scripts+=($!)
}

skip() {
    reasons+=("skipped: $1: $2")
}

python=() javascript=() go=() java=() rust=() served=() scripts=()

if ! command -v python3 >/dev/null; then
    skip image "no python3"
    skip python "no python3"
else
    outcome=PASS
    (cd image && python3 -B -m unittest --quiet test_pack test_order) || outcome=FAIL
    echo "$outcome image packs what container runtimes read" >"$results/image"
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
        java=(java -cp "$into/classes:$into/packages/*" Steps)
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

if ! command -v python3 >/dev/null; then
    skip steps "no python3"
elif ! serve_redis; then
    skip steps "no redis-server"
else
    serve_outside
    SDK_STEPS=$(realpath tests/sdk/steps.txt)
    export SDK_STEPS
    for protocol in http grpc; do
        [ "${#python[@]}" = 0 ] ||
            take_steps "python-$protocol" $protocol "${python[@]}" tests/sdk/python/steps.py $protocol
        [ "${#javascript[@]}" = 0 ] ||
            take_steps "javascript-$protocol" $protocol \
                "${javascript[@]}" tests/sdk/javascript/steps.cjs $protocol
        [ "${#go[@]}" = 0 ] || take_steps "go-$protocol" $protocol "${go[@]}" steps $protocol
    done
    [ "${#java[@]}" = 0 ] || take_steps java grpc "${java[@]}"
    [ "${#rust[@]}" = 0 ] || take_steps rust grpc "${rust[@]}"
    [ "${#scripts[@]}" = 0 ] || wait "${scripts[@]}"
fi

[ "${#python[@]}" = 0 ] || serve python grpc "${python[@]}" tests/sdk/python/app.py
[ "${#javascript[@]}" = 0 ] || serve javascript http "${javascript[@]}" tests/sdk/javascript/app.cjs
[ "${#go[@]}" = 0 ] || serve go grpc "${go[@]}" app
[ "${#python[@]}" = 0 ] || drive_caller python "${python[@]}" tests/sdk/python/invocation.py
[ "${#javascript[@]}" = 0 ] ||
    drive_caller javascript "${javascript[@]}" tests/sdk/javascript/invocation.cjs
if [ "${#go[@]}" != 0 ]; then
    drive_caller go "${go[@]}" invocation
    drive wire "${go[@]}" wire "$sidegate"
fi

cat "$results"/* >"$work/all"
# What the SDKs lack is in the table.
grep -v '^LACKS ' "$work/all" | sort
passed=$(grep -c '^PASS ' "$work/all" || true)
failed=$(grep -c '^FAIL ' "$work/all" || true)
[ "${#reasons[@]}" = 0 ] || printf '%s\n' "${reasons[@]}"
if command -v python3 >/dev/null; then
    # A table that is not whole cannot be compared.
    page=docs/sdks.md
    [ "$failed" = 0 ] && [ "${#reasons[@]}" = 0 ] || page=
    python3 -B tests/sdk/table.py "$work/all" ${page:+"$page"} || failed=$((failed + 1))
fi
echo "other languages: $passed passed, $failed failed, ${#reasons[@]} skipped"
[ "$failed" = 0 ] || exit 1
if [ "${#reasons[@]}" -gt 0 ] && [ "${CI:-}" = true ]; then
    echo "a skip is a failure where CI=true" >&2
    exit 1
fi
