#!/usr/bin/env bash
# What is tested against Kubernetes: cluster.sh chart|api|node...
#
# chart: the part of api that is about the chart
# api:   tests/cluster, against a real kube-apiserver and etcd on loopback
# node:  tests/e2e, on a real node in namespaces of its own, or with E2E_EXISTING=1 on the cluster of
#        the current kubeconfig
#
# What this machine cannot run is counted as skipped with the reason; with CI=true that is a
# failure.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
skipped=0
times=()

# needs COMMAND...: whether what a test needs is there; ends the script where it should be and is not.
needs() {
    local code=0
    "$@" || code=$?
    case $code in
        0) ;;
        3)
            skipped=$((skipped + 1))
            return 1
            ;;
        *) exit "$code" ;;
    esac
}

for what in "$@"; do
    start=$SECONDS
    case $what in
        chart)
            if needs tests/node/tools; then
                "$cargo" test --locked --test cluster chart::
            fi
            ;;
        api)
            if needs tests/node/tools; then "$cargo" test --locked --test cluster; fi
            ;;
        node)
            if [ -n "${E2E_EXISTING:-}" ]; then
                tests/e2e/run
            elif needs tests/node/packages && needs tests/node/tools; then
                folder=$(image/build-static "$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" \
                    --bin sidegate --example e2e-app)
                tests/e2e/run "$folder/sidegate" "$folder/examples/e2e-app"
            fi
            ;;
        *)
            echo "$0: \"$what\" is not known; accepted are chart, api and node" >&2
            exit 2
            ;;
    esac
    seconds=$((SECONDS - start))
    times+=("against Kubernetes, $what: $((seconds / 60)).$((seconds % 60 / 6)) minutes")
done

printf '%s\n' "${times[@]}"
echo "against Kubernetes: $skipped skipped"
if [ "$skipped" -gt 0 ] && [ "${CI:-}" = true ]; then
    echo "a skip is a failure where CI=true" >&2
    exit 1
fi
