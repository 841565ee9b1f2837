"""HTTP sources that misbehave, each on an address of its own: one sends wrong bytes, one stops after
a while, one does not know Range, and at one nothing listens. Prints their URLs as JSON into the file
that the second argument names; the first is the file that they serve."""

import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = open(sys.argv[1], "rb").read()
STALL_AFTER = 64 * 1024
FOREVER = threading.Event()


class Source(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kind = ""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body):
        try:
            self.send(body)
        except OSError:
            pass  # The client has left, as it should.

    def send(self, body):
        first, last = 0, len(CONTENT) - 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        part = asked is not None and self.kind != "without-range"
        if part:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        data = CONTENT[first : last + 1]
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(len(data)))
        if part:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")
        self.end_headers()
        if not body:
            return
        if self.kind == "corrupt":
            data = bytes(byte ^ 1 for byte in data[:1]) + data[1:]
        if self.kind == "stalled":
            self.wfile.write(data[:STALL_AFTER])
            FOREVER.wait()
        self.wfile.write(data)


urls = {}
for number, kind in enumerate(["corrupt", "stalled", "without-range"]):
    handler = type(kind, (Source,), {"kind": kind})
    server = ThreadingHTTPServer((f"127.0.0.{20 + number}", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urls[kind] = f"http://{server.server_address[0]}:{server.server_port}/big.bin"
# A port below 1024 at which nothing listens.
urls["dead"] = "http://127.0.0.29:9/big.bin"
with open(sys.argv[2] + ".new", "w", encoding="utf-8") as out:
    json.dump(urls, out, separators=(",", ":"))
os.rename(sys.argv[2] + ".new", sys.argv[2])
FOREVER.wait()
