#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets into fuzz/corpus, from the vectors of PROTOCOL.md."""

import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["song.flac", "../../etc/passwd", ".bashrc", "NUL.txt", "x.PART.map", "evil\u202egpj.exe", "a\0b\x1b[31m", "ä" * 150]

PATHS = ["a/b", "a/", "/a", "/", "a//b", ".", "..", "./a", "../a", "a/../b", "a/..", "...", "a/..b"]

TARGETS = ["/", "/metrics", "/files/", "/files/a%20b", "/files/../a", "/files/%2e%2e/a", "/meta/a.meta4", "/root/" + "ab" * 32, "/meta/" + "ab" * 32 + ".meta4"]
# What two programs could read in two ways, and what follows it.
HEADS = [
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcdGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "GET http://[::1]:4778/files/..%2fa HTTP/1.1\nHost: a b\n\n",
    "GET / HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 64 + "\r\n",
]
SPANS = ["bytes=0-", "bytes=5-9", "bytes=-7", "bytes=2000-", "bytes=9-5", "bytes=-0", "bytes=1-2,5-6"]


def vectors():
    text = (HERE.parent / "PROTOCOL.md").read_text()
    for how, body in re.findall(r"^```vector (\w+)[^\n]*\n(.*?)^```$", text, re.M | re.S):
        digits = "".join(line for line in body.splitlines() if not line.startswith("{"))
        yield how, bytes.fromhex(digits.replace(" ", ""))


def seeds():
    whole = b""
    for how, data in vectors():
        if how in ("frame", "decode", "refuse"):
            # The frame target reads a cap and a step first, the message target no length.
            yield "frame", bytes([2, 7]) + data
            yield "message", data[4:]
            whole += data if how == "frame" else b""
        elif how in ("collection", "uncollection"):
            yield "collection", bytes([7]) + data
        elif how == "uri":
            yield "uri", data
        elif how in ("credential", "invitation"):
            yield how, data
        elif how == "digest":
            yield "digest", data
        elif how == "datagram":
            yield "datagram", data
        # Complete nodes take any bytes as choices.
        for target in ("super_peer", "weak_peer", "chunk", "manifest", "login", "envelope"):
            yield target, data
    yield "frame", bytes([2, 200]) + whole
    for target in TARGETS:
        # A size first, then a head of HTTP or a range.
        yield "http", (1000).to_bytes(8, "little") + f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:4778\r\nRange: bytes=1-\r\n\r\n".encode()
    for head in HEADS:
        yield "http", (1000).to_bytes(8, "little") + head.encode()
    for span in SPANS:
        yield "http", (1000).to_bytes(8, "little") + span.encode()
    for name in NAMES:
        yield "name", name.encode()
        yield "search", name.encode() * 4
    for path in PATHS:
        # UPDATE {seq: 1, del: [path]}: the place where every kind of path is read.
        text = path.encode()
        body = b"\x81\xa6UPDATE\x82\xa3seq\x01\xa3del\x91" + bytes([0xA0 + len(text)]) + text
        yield "message", body
        yield "frame", bytes([2, 7]) + len(body).to_bytes(4, "big") + body


def main():
    count = 0
    for target, data in seeds():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        count += 1
        (folder / f"seed-{count:03}").write_bytes(data)
    print(f"{count} seeds in {HERE / 'corpus'}")


if __name__ == "__main__":
    main()
