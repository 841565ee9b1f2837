"""An honest session that registers a file and searches for it without a break: a process that counts
and times its queries.

    python3 -m chaoslib.searcher ADDR

It prints {"up": true} once its file is registered, and its figures when its input ends; `failed`
counts queries that ended without the file or with ERROR.
"""
import json
import os
import selectors
import socket
import sys
import time

from .wire import Frames, frame

GAP_SECONDS = 0.005
FILE = {"p": "the honest file.bin", "s": 1, "r": bytes(32)}


def main(addr):
    host, _, port = addr.rpartition(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(frame("HELLO", v=[1, 0], node=os.urandom(16), boot=7) + frame("LOGIN", mode="open"))
    frames = Frames()

    def wait(*wanted):
        """Until one of these arrives. Returns it, and whether a HIT came before it."""
        hit = False
        while True:
            data = sock.recv(1 << 16)
            if not data:
                raise ConnectionError("the super peer closed the session")
            for kind, fields in frames.feed(data):
                hit |= kind == "HIT" and any(found["p"] == FILE["p"] for found in fields["hits"])
                if kind in wanted:
                    return kind, hit

    wait("READY")
    sock.sendall(frame("REGISTER", seq=1, port=4778, files=[FILE]))
    wait("ACK")
    print(json.dumps({"up": True}), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    times, failed = [], 0
    while not selector.select(GAP_SECONDS):
        begun = time.perf_counter()
        sock.sendall(frame("QUERY", req=1, find={"q": "the honest file", "k": "words"}, ttl=0))
        failed += wait("DONE", "ERROR") != ("DONE", True)
        times.append(time.perf_counter() - begun)
    print(json.dumps({"queries": len(times), "failed": failed, "slowest_ms": max(times) * 1e3}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
