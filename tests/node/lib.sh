# What the scripts of this folder share. Sourced, not run.
#
# Everything that is built or kept lies below $base; the tree stays as it is.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=${SIDEGATE_NODE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sidegate/cluster}
PATH=$base/bin:$PATH

node=node1
node_ip=172.30.0.2
service_cidr=10.96.0.0/16
pod_cidr=10.244.0.0/16
export KUBECONFIG=$base/admin.kubeconfig

# The process that holds the node's namespaces: all others in it end with it.
holder() { cat "$base/run/holder.pid" 2>/dev/null; }

# The number of a process may have been given to another since.
is_up() {
    local pid
    pid=$(holder) && [ "$(readlink "/proc/$pid/ns/pid")" = "$(cat "$base/run/holder.ns")" ]
} 2>/dev/null

# Runs a command inside the node.
inside() { nsenter -t "$(holder)" -n -m -p -u -i -- "$@"; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "$0: gave up waiting for $what" >&2
            return 1
        fi
        sleep 0.1
    done
}
