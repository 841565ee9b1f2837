"""An honest session that searches without a break: a process that counts and times its queries.

    python3 -m chaoslib.searcher ADDR

It prints {"up": true} once its session is open, and its figures when its input ends.
"""
import json
import os
import selectors
import socket
import sys
import time

from .wire import Frames, frame

GAP_SECONDS = 0.005


def main(addr):
    host, _, port = addr.rpartition(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(frame("HELLO", v=[1, 0], node=os.urandom(16), boot=7) + frame("LOGIN", mode="open"))
    frames = Frames()

    def wait(*wanted):
        while True:
            data = sock.recv(1 << 16)
            if not data:
                raise ConnectionError("the super peer closed the session")
            for kind, _ in frames.feed(data):
                if kind in wanted:
                    return kind

    wait("READY")
    print(json.dumps({"up": True}), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    times, errors = [], 0
    while not selector.select(GAP_SECONDS):
        begun = time.perf_counter()
        sock.sendall(frame("QUERY", req=1, find={"q": "the honest file", "k": "words"}, ttl=0))
        errors += wait("DONE", "ERROR") == "ERROR"
        times.append(time.perf_counter() - begun)
    print(json.dumps({"queries": len(times), "errors": errors, "slowest_ms": max(times) * 1e3}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
