"""Connections that do nothing, or next to nothing: a process that opens COUNT of them at a super
peer or a peer, and opens each again when it was closed.

    python3 -m chaoslib.idlers super|peer|control ADDR COUNT [RENEW_SECONDS] [ADDRESSES]

It prints {"open": COUNT} once all were opened, less those whose first attempt failed, and its figures
when its input ends. ADDRESSES is how many loopback addresses the connections come from.
"""
import asyncio
import json
import os
import sys

from .wire import frame
from .world import raise_descriptors

HELLO = frame("HELLO", v=[1, 0], node=bytes(16), boot=7)
LOGIN = frame("LOGIN", mode="open")
QUERY = frame("QUERY", req=1, find={"q": "nothing like this", "k": "words"})
GET = frame("GET", req=1, root=bytes(32), off=0, len=1)
DRIP_SECONDS = 1.0

# By role: the bytes that are sent at once, and the bytes that are dripped.
KINDS = {
    "super": [
        (b"", b""),                         # silent
        (HELLO, b""),                       # HELLO, then silence
        (HELLO[:9], b""),                   # half a frame
        (b"", HELLO),                       # a frame byte by byte
        (HELLO + LOGIN, b""),               # a session that says nothing
        (HELLO + LOGIN + QUERY[:11], b""),  # half a frame of a session
        (HELLO + LOGIN, QUERY),             # a session's frame byte by byte
    ],
    "peer": [
        (b"", b""),
        (HELLO, b""),
        (HELLO[:9], b""),
        (b"", HELLO),
        (HELLO + GET[:11], b""),
        (HELLO, GET),
    ],
    "control": [(b"", b""), (b'{"command": "que', b""), (b"", b'{"command": "status"')],
}


class Idlers:
    def __init__(self, role, addr, renew, addresses):
        self.role, self.addr, self.renew, self.addresses = role, addr, renew, addresses
        self.opened = self.closed = self.failed = 0
        # Of COUNT, those that opened at the first attempt.
        self.first = 0

    async def dial(self, n):
        if self.role == "control":
            return await asyncio.open_unix_connection(self.addr)
        host, _, port = self.addr.rpartition(":")
        local = (f"127.1.{n % self.addresses // 250}.{n % self.addresses % 250 + 1}", 0) if self.addresses else None
        return await asyncio.open_connection(host, int(port), local_addr=local, limit=4096)

    async def one(self, n, first):
        at_once, dripped = KINDS[self.role][n % len(KINDS[self.role])]
        while True:
            writer = None
            try:
                reader, writer = await asyncio.wait_for(self.dial(n), 30)
                self.opened += 1
                self.first += not first.is_set()
                first.set()
                writer.write(at_once)
                dripping = asyncio.ensure_future(self.drip(writer, dripped))
                try:
                    while await reader.read(4096):
                        pass
                finally:
                    dripping.cancel()
                self.closed += 1
            except (OSError, asyncio.TimeoutError):
                self.failed += 1
                first.set()
            finally:
                if writer:
                    writer.transport.abort()
            await asyncio.sleep(self.renew)

    async def drip(self, writer, data):
        for byte in data:
            await asyncio.sleep(DRIP_SECONDS)
            writer.write(bytes([byte]))


async def main(role, addr, count, renew=0.5, addresses=0):
    idlers = Idlers(role, addr, float(renew), int(addresses))
    tasks, firsts = [], []
    for n in range(int(count)):
        firsts.append(asyncio.Event())
        tasks.append(asyncio.ensure_future(idlers.one(n, firsts[-1])))
        # Fewer than a backlog at once, so that the kernel does not drop SYNs.
        if n % 200 == 199:
            await asyncio.gather(*(event.wait() for event in firsts))
    await asyncio.gather(*(event.wait() for event in firsts))
    print(json.dumps({"open": idlers.first, "failed": idlers.failed}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps({"opened": idlers.opened, "closed": idlers.closed, "failed": idlers.failed}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    raise_descriptors()
    asyncio.run(main(*sys.argv[1:]))
