"""A server that is no application of any sidecar: outside.py FILE

It answers with what it was asked, and which tokens came with it. Its address is written to the
file as soon as it listens.
"""

import http.server
import json
import os
import sys


class Outside(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        seen = {
            "verb": self.command,
            "path": self.path,
            "body": json.loads(body),
            "tokens": self.headers.get_all("dapr-api-token", []),
        }
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def main(file):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Outside)
    unfinished = f"{file}.unfinished"
    with open(unfinished, "w", encoding="utf-8") as written:
        written.write(f"http://127.0.0.1:{server.server_port}")
    os.rename(unfinished, file)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
