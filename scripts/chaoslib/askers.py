"""Sessions that ask much: a process that opens COUNT sessions at a super peer, each of which sends
QUERIES queries at once.

    python3 -m chaoslib.askers ADDR COUNT QUERIES BUDGET_MS PATTERN read|unread

`unread` sessions never read an answer and have a small receive buffer. It prints {"open": COUNT}
once all queries are sent, and its figures when its input ends.
"""
import json
import selectors
import socket
import sys

from .wire import Frames, frame
from .world import raise_descriptors


def dial(addr, small):
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    host, _, port = addr.rpartition(":")
    sock.connect((host, int(port)))
    return sock


def main(addr, count, queries, budget, pattern, how):
    unread = how == "unread"
    kind = "glob" if any(c in pattern for c in "*?[") else "words"
    asked = b"".join(frame("QUERY", req=req, find={"q": pattern, "k": kind}, budget=int(budget)) for req in range(1, int(queries) + 1))
    begin = frame("HELLO", v=[1, 0], node=bytes(16), boot=7) + frame("LOGIN", mode="open")
    socks, refused = [], 0
    for _ in range(int(count)):
        try:
            sock = dial(addr, unread)
            sock.sendall(begin + asked)
            socks.append(sock)
        except OSError:
            refused += 1
    print(json.dumps({"open": len(socks), "refused": refused}), flush=True)
    figures = {"open": len(socks), "done": 0, "error": 0, "closed": 0}
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    if not unread:
        for sock in socks:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, Frames())
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                if not sys.stdin.readline():
                    print(json.dumps(figures), flush=True)
                    return
                continue
            data = key.fileobj.recv(1 << 16)
            if not data:
                figures["closed"] += 1
                selector.unregister(key.fileobj)
                continue
            for kind, _ in key.data.feed(data):
                figures["done"] += kind == "DONE"
                figures["error"] += kind == "ERROR"


if __name__ == "__main__":
    raise_descriptors()
    main(*sys.argv[1:])
