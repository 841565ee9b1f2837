"""Downloaders that harm: a process that opens COUNT chunk connections at a peer, asks each for many
chunks, and opens each again when it was closed.

    python3 -m chaoslib.readers ADDR ROOT SIZE COUNT slow|unread|close

`slow` reads 1 KiB each SLOW_SECONDS, just often enough to count as progress; `unread` reads nothing;
`close` closes at once and comes again. It prints {"open": COUNT}, less those whose first attempt
failed, and its figures when its input ends.
"""
import asyncio
import json
import os
import socket
import sys

from .wire import PIECE, frame
from .world import raise_descriptors

SLOW_SECONDS, RENEW_SECONDS = 4.0, 0.5
REQUESTS = 64


async def main(addr, root, size, count, how):
    root, size = bytes.fromhex(root), int(size)
    host, _, port = addr.rpartition(":")
    figures = {"opened": 0, "closed": 0, "failed": 0}
    opened = set()

    def get(req):
        off = req * PIECE % max(1, size - PIECE)
        return frame("GET", req=req, root=root, off=off, len=min(PIECE, size - off))

    begin = frame("HELLO", v=[1, 0], node=bytes(16), boot=7) + b"".join(map(get, range(REQUESTS)))
    loop = asyncio.get_running_loop()

    async def one(first):
        while True:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            try:
                await asyncio.wait_for(loop.sock_connect(sock, (host, int(port))), 30)
                figures["opened"] += 1
                if not first.is_set():
                    opened.add(first)
                first.set()
                await loop.sock_sendall(sock, begin)
                req = REQUESTS
                while how != "close":
                    await asyncio.sleep(SLOW_SECONDS)
                    if how == "slow" and not await loop.sock_recv(sock, 1024):
                        break
                    if how == "unread":
                        # The end of the stream is not seen while bytes before it are unread:
                        # after a close this brings a reset, and the next one fails.
                        sock.send(get(req))
                        req += 1
                figures["closed"] += 1
            except (ConnectionResetError, BrokenPipeError):
                figures["closed"] += 1
            except (OSError, asyncio.TimeoutError):
                figures["failed"] += 1
            first.set()
            sock.close()
            await asyncio.sleep(RENEW_SECONDS)

    firsts = [asyncio.Event() for _ in range(int(count))]
    tasks = [asyncio.ensure_future(one(first)) for first in firsts]
    await asyncio.gather(*(first.wait() for first in firsts))
    print(json.dumps({"open": len(opened), "failed": figures["failed"]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(figures), flush=True)
    os._exit(len(tasks) == 0)


if __name__ == "__main__":
    raise_descriptors()
    asyncio.run(main(*sys.argv[1:]))
