#!/usr/bin/env python3
"""Writes image/functions.order anew: the functions that run, in the order of their first calls.

It builds the static program with its symbols and runs it under valgrind: the sidecar from its start
until it is idle and under each kind of common call, with an app over HTTP and one over gRPC, and the
injector with a review. The program is that of image/build-static amd64, in the same folder.
"""

import collections
import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
ORDER = ROOT / "image" / "functions.order"
TARGET = "x86_64-unknown-linux-musl"
PAGE = 4096
TOKEN = "0123456789abcdef0123456789abcdef"
# What the linker knows: a place without a name is an address.
NAME = re.compile(r"[A-Za-z_.$][\w.$]*")
# How often each kind of call is made: what runs at the first calls only is there as well.
CALLS = 50
# How many basic blocks run between two looks at what ran. Within one look there is no order.
BLOCKS = 100_000
# Valgrind is some fifty times slower than the program.
PATIENCE = 300

RESOURCES = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: store}}
spec: {{type: secretstores.local.file, version: v1, metadata: [{{name: secretsFile, value: {file}}}]}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: state}}
spec: {{type: state.in-memory, version: v1}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: broker}}
spec: {{type: pubsub.in-memory, version: v1}}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {{name: orders}}
spec: {{pubsubname: broker, topic: orders, routes: {{default: /orders}}}}
"""

REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "6d4ff3b6-2c0f-4b7c-8c4f-0c6f1c2a7a11",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "order"},
        "object": {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "shop",
                "namespace": "default",
                "annotations": {
                    "dapr.io/enabled": "true",
                    "dapr.io/app-id": "shop",
                    "dapr.io/app-port": "8080",
                    "dapr.io/api-token-secret": "api-token",
                },
            },
            "spec": {"containers": [{"name": "web", "image": "example.org/shop:1"}]},
        },
        "dryRun": False,
    },
}


def main():
    program = build()
    # A dictionary keeps the order in which its keys came.
    ran = {}
    with tempfile.TemporaryDirectory() as folder:
        for scene in [sidecar_over_http, sidecar_over_grpc, injector]:
            work = pathlib.Path(folder, scene.__name__)
            work.mkdir()
            ran.update(scene(program, work))
    lines = patterns(list(ran), sizes(program))
    ORDER.write_text("".join(f"{line}\n" for line in lines))
    print(f"{ORDER}: {len(ran)} functions in {len(lines)} lines")


def build():
    """The static program with its symbols, whose names are those of a build without them."""
    command = [os.environ.get("CARGO", "cargo"), "rustc", "--locked", "--release"]
    command += ["--bin", "sidegate", "--target", TARGET, "--", "-C", "strip=none"]
    subprocess.run(command, check=True, cwd=ROOT)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / TARGET / "release" / "sidegate"


def sizes(program):
    """The size of each function of the program."""
    command = ["nm", "--print-size", "--defined-only", program]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in text.splitlines())
    return {row[3]: int(row[1], 16) for row in rows if len(row) == 4 and row[2] in "tTwW"}


def patterns(ran, size_of):
    """Patterns for what ran, which hold in other builds as far as they can.

    Names end with a hash, which changes with every dependency. A pattern for it takes in all
    functions of that name, one for each type that it is made for. Where these are many, the whole
    names come first, and after all of them, for builds in which they are others, the patterns that
    bring less than they save.
    """
    same = collections.defaultdict(list)
    for name in size_of:
        same[pattern(name)].append(name)
    wanted = collections.Counter(map(pattern, ran))
    known = set(ran)
    extra = {
        each: sum(size_of[name] for name in same[each] if name not in known) for each in wanted
    }
    first = [pattern(name) if extra[pattern(name)] <= PAGE else name for name in ran]
    later = [each for each in wanted if extra[each] <= 4 * PAGE * wanted[each]]
    return list(dict.fromkeys(first + later))


def pattern(name):
    """The name with a `*` for each hash in it, of both of the forms that rustc has."""
    name = re.sub(r"\.llvm\.\d+$", "*", name)
    if name.startswith("_R"):
        return re.sub(r"Cs[0-9A-Za-z]+_(?=\d)", "Cs*_", name)
    return re.sub(r"17h[0-9a-f]{16}E\*?$", "17h*", name)


def sidecar_over_http(program, work):
    app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    with Sidecar(program, work, "http", app.server_port) as sidecar:
        for _ in range(CALLS):
            sidecar.call("GET", "/v1.0/secrets/store/password", 200)
        for _ in range(CALLS):
            sidecar.call("GET", "/v1.0/secrets/store/password", 401, token="")
        for _ in range(CALLS):
            sidecar.call("POST", "/v1.0/invoke/shop/method/orders", 200, {"order": 1})
        for _ in range(CALLS):
            sidecar.call("POST", "/v1.0/state/state", 204, [{"key": "order", "value": 1}])
            sidecar.call("GET", "/v1.0/state/state/order", 200)
        for _ in range(CALLS):
            sidecar.call("POST", "/v1.0/publish/broker/orders", 204, {"order": 1})
        sidecar.scrape()
        sidecar.grpc_calls()
    return sidecar.functions()


def sidecar_over_grpc(program, work):
    app = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve_grpc, args=[app], daemon=True).start()
    with Sidecar(program, work, "grpc", app.getsockname()[1]) as sidecar:
        for _ in range(CALLS):
            sidecar.call("POST", "/v1.0/publish/broker/orders", 204, {"order": 1})
        sidecar.grpc_calls()
    return sidecar.functions()


def injector(program, work):
    """The injector, with a certificate of files."""
    certificate, key = work / "tls.crt", work / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
    command += ["subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key]
    subprocess.run(command, check=True, capture_output=True)
    port, health, metrics = free_ports(3)
    local = "-listen-address=127.0.0.1"
    flags = ["injector", f"-{local}", f"--healthz{local}", f"--metrics{local}"]
    flags += [f"--port={port}", f"--healthz-port={health}", f"--metrics-port={metrics}"]
    flags += [f"--tls-cert-file={certificate}", f"--tls-key-file={key}"]
    with Traced(program, work, flags, {}) as traced:
        traced.until_healthy(health, "/healthz")
        trust = ssl.create_default_context(cafile=certificate)
        headers = {"content-type": "application/json"}
        for _ in range(CALLS // 10):
            connection = http.client.HTTPSConnection("localhost", port, context=trust)
            connection.request("POST", "/mutate", json.dumps(REVIEW), headers)
            expect(200, connection.getresponse().status)
            connection.close()
    return traced.functions()


class Traced:
    """A command of the program under valgrind, from its start to its end by a signal."""

    def __init__(self, program, work, flags, variables):
        self.work = work
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", "--demangle=no"]
        valgrind += ["--compress-strings=no", f"--dump-every-bb={BLOCKS}"]
        valgrind += [f"--callgrind-out-file={work}/ran"]
        environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(work), **variables}
        command = [*valgrind, program, *flags]
        with open(work / "log", "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def until_healthy(self, port, path):
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("GET", path)
                if connection.getresponse().status < 300:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise RuntimeError("the program did not become healthy")

    def functions(self):
        """What ran: each function with its own line in one of the dumps, which are numbered."""
        # The last dump, at the end of the program, has no number.
        last = self.work / "ran"
        dumps = sorted(self.work.glob("ran.*"), key=lambda path: int(path.suffix[1:]))
        names = {}
        for path in [*dumps, last]:
            for line in path.read_text().splitlines():
                # A function that calls itself has one line for each depth: name'2.
                kind, _, name = line.partition("'")[0].partition("=")
                if kind == "fn" and NAME.fullmatch(name):
                    names[name] = None
        return names


class Sidecar(Traced):
    def __init__(self, program, work, protocol, app):
        (work / "secrets.json").write_text('{"password": "hunter2"}')
        (work / "resources").mkdir()
        resources = RESOURCES.format(file=json.dumps(str(work / "secrets.json")))
        (work / "resources" / "all.yaml").write_text(resources)
        self.http, self.grpc, self.metrics = free_ports(3)
        flags = ["sidecar", "--app-id=shop", "--dapr-listen-addresses=127.0.0.1"]
        flags += ["--metrics-listen-address=127.0.0.1", f"--metrics-port={self.metrics}"]
        flags += [f"--dapr-http-port={self.http}", f"--dapr-grpc-port={self.grpc}"]
        flags += [f"--app-port={app}", f"--app-protocol={protocol}"]
        flags += [f"--resources-path={work}/resources"]
        variables = {"DAPR_API_TOKEN": TOKEN, "APP_API_TOKEN": "the app's token"}
        super().__init__(program, work, flags, variables)
        self.until_healthy(self.http, "/v1.0/healthz")
        self.connection = http.client.HTTPConnection("127.0.0.1", self.http)

    def call(self, method, path, status, body=None, token=TOKEN):
        headers = {"content-type": "application/json", "dapr-api-token": token}
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, headers)
        answer = self.connection.getresponse()
        answer.read()
        expect(status, answer.status)

    def scrape(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics)
        connection.request("GET", "/metrics")
        expect(200, connection.getresponse().status)

    def grpc_calls(self):
        """Each kind of call over gRPC, by curl: requests are the fields of Dapr's messages."""
        event = field(1, "broker") + field(2, "orders") + field(3, "1")
        invoke = field(1, "shop") + field(3, field(1, "orders") + field(2, field(2, "1")))
        save = field(1, "state") + field(2, field(1, "order") + field(2, "1"))
        for method, request, token in [
            ("GetSecret", field(1, "store") + field(2, "password"), TOKEN),
            ("GetSecret", field(1, "store") + field(2, "password"), ""),
            ("InvokeService", invoke, TOKEN),
            ("SaveState", save, TOKEN),
            ("GetState", field(1, "state") + field(2, "order"), TOKEN),
            ("PublishEvent", event, TOKEN),
        ]:
            url = f"http://127.0.0.1:{self.grpc}/dapr.proto.runtime.v1.Dapr/{method}"
            body = self.work / "request"
            body.write_bytes(message(request))
            command = ["curl", "--silent", "--show-error", "--fail", "--http2-prior-knowledge"]
            command += ["--output", "/dev/null", "--header", "content-type: application/grpc"]
            command += ["--header", "te: trailers", "--header", f"dapr-api-token: {token}"]
            command += ["--data-binary", f"@{body}", url]
            for _ in range(CALLS // 10):
                subprocess.run(command, check=True)


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(404, b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(200, b"{}")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_grpc(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer_grpc, args=[connection], daemon=True).start()


def answer_grpc(connection):
    """Answers each call with an empty message, in frames of RFC 9113."""
    data, headers, settings, ping = 0, 1, 4, 6
    end_stream, ack, end_headers = 1, 1, 4
    reader = connection.makefile("rb")
    reader.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))

    def send(kind, flags, stream, payload):
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        connection.sendall(head + payload)

    send(settings, 0, 0, b"")
    while head := reader.read(9):
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:], "big")
        payload = reader.read(length)
        if kind in (settings, ping) and not flags & ack:
            send(kind, ack, 0, payload if kind == ping else b"")
        if kind in (data, headers) and flags & end_stream:
            # 0x88 is ":status: 200" of the table of RFC 7541.
            send(headers, end_headers, stream, b"\x88" + header("content-type", "application/grpc"))
            send(data, 0, stream, message(b""))
            send(headers, end_headers | end_stream, stream, header("grpc-status", "0"))


def header(name, value):
    """A literal header without indexing (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def field(number, value):
    """A field of protobuf that holds text, bytes or a message, of less than 128 bytes."""
    content = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(content)]) + content


def message(content):
    """A message as gRPC frames it, not compressed."""
    return b"\x00" + len(content).to_bytes(4, "big") + content


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def expect(wanted, got):
    if wanted != got:
        raise RuntimeError(f"answered with {got}, not {wanted}")


if __name__ == "__main__":
    main()
