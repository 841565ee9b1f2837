#!/usr/bin/env python3
"""A small sprat client, written from PROTOCOL.md. Needs python3 and msgpack (pip install msgpack), nothing of sprat.

    client.py SUPER query PATTERN         list the files that match, their sources, and whether the list is complete
    client.py SUPER get PATTERN FILE      fetch the first match into FILE, and check the MD5 of each chunk
    client.py SUPER share FILE ROOT       share a file of at most 1 MiB until stdin ends; ROOT is what `b3sum FILE` prints

SUPER is HOST:PORT of a super peer. The exit codes are those of sprat: 0 success, 3 no file matches, 5 refused, 6 wrong bytes.
"""
import hashlib
import os
import socket
import struct
import sys
import threading

import msgpack

MIB = 1 << 20
NODE, BOOT = os.urandom(16), int.from_bytes(os.urandom(8), "big")


class Refused(Exception):
    """The other side answered ERROR, or closed the connection."""


class Connection:
    """Frames on TCP: a u32 length, then one map {KIND: {fields}} (PROTOCOL.md 3.2)."""

    def __init__(self, sock):
        self.sock = sock

    @classmethod
    def dial(cls, address):
        """Connects, sends HELLO and reads WELCOME, as every connection begins (3.5)."""
        host, _, port = address.rpartition(":")
        conn = cls(socket.create_connection((host.strip("[]"), int(port)), timeout=10))
        conn.send("HELLO", v=[1, 0], node=NODE, boot=BOOT, agent="client.py/1")
        conn.welcome = conn.expect("WELCOME")
        return conn

    def read(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise Refused("the other side closed the connection")
            data += part
        return bytes(data)

    def send(self, kind, **fields):
        body = msgpack.packb({kind: fields})
        self.sock.sendall(struct.pack(">I", len(body)) + body)

    def receive(self):
        """The next message: its kind and its fields."""
        (length,) = struct.unpack(">I", self.read(4))
        if length > 65536:
            raise Refused(f"a frame of {length} bytes")
        ((kind, fields),) = msgpack.unpackb(self.read(length)).items()
        return kind, fields

    def expect(self, *wanted):
        """The next message of one of these kinds. Skips other kinds; raises Refused at ERROR and BYE."""
        while True:
            kind, fields = self.receive()
            if kind in ("ERROR", "BYE"):
                raise Refused(f"{kind} {fields}")
            if kind in wanted:
                return fields if len(wanted) == 1 else (kind, fields)


def open_session(address):
    conn = Connection.dial(address)
    conn.send("LOGIN", mode="open")
    conn.expect("READY")
    return conn


def kind_of(pattern):
    """The kind of search that sprat chooses for a pattern (4.6)."""
    if len(pattern) == 64 and all(c in "0123456789abcdefABCDEF" for c in pattern):
        return "root"
    return "glob" if any(c in pattern for c in "*?[") else "words"


def query(session, pattern):
    """Sends QUERY, reads HITs until DONE; returns the hits and the DONE."""
    session.send("QUERY", req=1, find={"q": pattern, "k": kind_of(pattern)})
    hits = []
    while True:
        kind, fields = session.expect("HIT", "DONE")
        if kind == "DONE":
            return hits, fields
        hits += fields["hits"]


def dial_source(hit):
    """Connects to a source at its first address, or else at its second one."""
    try:
        return Connection.dial(hit["a"])
    except OSError:
        if "b" not in hit:
            raise
        return Connection.dial(hit["b"])


def fetch(hit, out):
    """Fetches a content from its source, chunk by chunk (5.3)."""
    source = dial_source(hit)
    offset = 0
    while offset < hit["s"]:
        length = min(MIB, hit["s"] - offset)
        source.send("GET", req=1, root=hit["r"], off=offset, len=length)
        chunk = source.expect("CHUNK")
        data = source.read(chunk["len"])
        if hashlib.md5(data).digest() != chunk["md5"] or len(data) != length:
            sys.exit(6)
        out.write(data)
        offset += length
        print(f"chunk at {chunk['off']}: {length} bytes, md5 {chunk['md5'].hex()} is right", file=sys.stderr)


def serve(sock, root, content):
    """Serves a chunk connection, with one content of at most one piece, which has no manifest."""
    conn = Connection(sock)
    try:
        conn.expect("HELLO")
        peer = "{}:{}".format(*sock.getpeername()[:2])
        conn.send("WELCOME", v=[1, 0], node=NODE, boot=BOOT, ping=30000, frame=65536, addr=peer)
        while True:
            kind, fields = conn.receive()
            if kind == "PING":
                conn.send("PONG", n=fields["n"])
            if kind not in ("GET", "MANIFEST"):
                continue
            req = fields["req"]
            if fields["root"] != root:
                conn.send("ERROR", code=3, message="no such content here", req=req)
            elif kind == "MANIFEST":
                conn.send("CVS", req=req, size=len(content), first=fields["first"], cvs=b"")
            elif not 0 < fields["len"] <= MIB or fields["off"] + fields["len"] > len(content):
                conn.send("ERROR", code=13, message="the range is not in the content", req=req)
            else:
                data = content[fields["off"]:fields["off"] + fields["len"]]
                conn.send("CHUNK", req=req, off=fields["off"], len=len(data), md5=hashlib.md5(data).digest())
                sock.sendall(data)
    except (Refused, OSError):
        sock.close()


def share(address, path, root):
    with open(path, "rb") as file:
        content = file.read()
    if len(content) > MIB:
        sys.exit("this client shares files of at most 1 MiB: it makes no manifest")
    session = open_session(address)
    here = session.sock.getsockname()[0]
    listener = socket.create_server((here, 0), family=session.sock.family)
    record = {"p": os.path.basename(path), "s": len(content), "r": root}
    session.send("REGISTER", seq=1, port=listener.getsockname()[1], files=[record])
    ack = session.expect("ACK")
    print(f"registered {ack['files']} file, served on {here}:{listener.getsockname()[1]}", flush=True)

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, root, content), daemon=True).start()

    def ping():
        """Sends PING before the super peer would close the session (4.2)."""
        while not done.wait(session.welcome["ping"] / 1000):
            session.send("PING", n=1)
            session.expect("PONG")

    done = threading.Event()
    threading.Thread(target=accept, daemon=True).start()
    threading.Thread(target=ping, daemon=True).start()
    sys.stdin.read()
    done.set()
    session.send("BYE", why="stdin ended")


def main(args):
    if len(args) == 4 and args[1] == "share":
        return share(args[0], args[2], bytes.fromhex(args[3]))
    if not (len(args) == 3 and args[1] == "query" or len(args) == 4 and args[1] == "get"):
        sys.exit(__doc__)
    hits, done = query(open_session(args[0]), args[2])
    for hit in hits:
        print(f"{hit['r'].hex()}  {hit['s']:>12}  {hit['a']:<21}  {hit['p']!r}")
    answer = "complete" if done["complete"] else f"not complete, cut {done.get('cut')}"
    print(f"{len(hits)} hits, {done['reached']} super peers searched, {answer}, {done['ms']} ms")
    if not hits:
        sys.exit(3)
    if args[1] == "get":
        with open(args[3], "wb") as out:
            # Sources that their super peer has not reached come last.
            fetch(min(hits, key=lambda hit: hit.get("u", False)), out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(5)
