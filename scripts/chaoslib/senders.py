"""Sessions that send small messages without a break: a process of COUNT sessions at a super peer.

    python3 -m chaoslib.senders ADDR COUNT KIND

KIND is PING, STATUS or LIST. Answers are read and discarded. It prints {"open": COUNT}, and
{"sending": N} when its input ends: sessions that neither failed nor were closed.
"""
import json
import os
import socket
import sys
import threading

from .wire import frame

BATCH = 2000


def discard(sock):
    while sock.recv(1 << 20):
        pass


def send(sock, kind):
    req = 0
    while True:
        fields = [{"n": 1} if kind == "PING" else {"req": req + n} for n in range(BATCH)]
        req = (req + BATCH) % (1 << 31)
        sock.sendall(b"".join(frame(kind, **each) for each in fields))


def main(addr, count, kind):
    host, _, port = addr.rpartition(":")
    sessions = []
    for _ in range(int(count)):
        sock = socket.create_connection((host, int(port)))
        sock.sendall(frame("HELLO", v=[1, 0], node=os.urandom(16), boot=7) + frame("LOGIN", mode="open"))
        sessions.append([threading.Thread(target=discard, args=(sock,), daemon=True), threading.Thread(target=send, args=(sock, kind), daemon=True)])
        for thread in sessions[-1]:
            thread.start()
    print(json.dumps({"open": int(count)}), flush=True)
    sys.stdin.read()
    print(json.dumps({"sending": sum(all(thread.is_alive() for thread in threads) for threads in sessions)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
