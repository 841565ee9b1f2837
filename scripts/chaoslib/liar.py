"""A source that lies: a process that registers a content at a super peer and serves it wrongly.

    python3 -m chaoslib.liar SUPER FILE PATH ROOT HONEST KIND [RATE] [HOST]

FILE holds the true bytes, HONEST is the address of a source whose manifest is passed on (`-`: none,
for a content of one piece), RATE the bytes per second that it sends (0: as fast as it can), HOST the
address at which it serves and from which it dials the super peer. It answers the dial back of the
super peer as an honest peer does, whatever it does to others: so its hits do not say that it was not
reached, and it is asked like any other source. It prints {"addr": ADDR, "reached": BOOL} once the
content is registered and the super peer has dialed it, or was given REACH_SECONDS for it; and its
figures when its input ends:

    gets           GETs received
    outstanding    most bytes that one connection had asked for, not canceled and not been sent,
                   before it was sent a right piece
    wrong          pieces sent whose bytes are wrong
    sent           payload bytes sent
    right          pieces sent that are right
    connections    chunk connections of downloaders
    dial_backs     those of the super peer
"""
import asyncio
import hashlib
import json
import os
import sys
import time

from .wire import PIECE, Frames, frame, pieces_of
from .world import raise_descriptors

# What each does; `size` is what is registered.
KINDS = {
    "wrong-bytes": "wrong bytes with the MD5 of the right ones",
    "md5-of-wrong": "wrong bytes with their own MD5",
    "wrong-md5": "right bytes with a wrong MD5",
    "forged-manifest": "a manifest of other chaining values",
    "truncate": "half of the bytes, then it closes",
    "stall": "CHUNK and a quarter of the bytes, then nothing",
    "drip": "everything after WELCOME at one byte each 1.9 s",
    "drip-chunk": "a right manifest, then each chunk at one byte each 1.9 s",
    "false-size": "registered with size + 1",
    "huge-size": "registered with a size of 2^60",
    "equivocate": "right pieces and wrong ones in turn",
    "proof-then-wrong": "a right manifest and last piece, everything else wrong",
    "close-after-header": "CHUNK, then it closes",
    "refuse": "ERROR 3 for everything",
    "busy": "ERROR 5 for everything",
    "changed": "a right manifest, then ERROR 6",
    "wrong-length": "CHUNK with one byte more than asked",
    "huge-length": "CHUNK with a length of 2^32 - 1",
    "wrong-offset": "CHUNK of another offset",
    "no-md5": "CHUNK without the MD5",
    "unasked": "CHUNKs that nobody asked for",
    "chatter": "messages of unknown kinds without end",
    "garbage": "bytes that are no frame",
    "version": "WELCOME of another major version",
    "hang-up": "WELCOME, then it closes",
    "silent": "WELCOME, then no answer",
    "mute": "not even WELCOME",
    "slow": "right bytes at 20 KiB/s",
    "bait": "two right pieces as fast as it can, then right bytes at 20 KiB/s",
    "right": "right bytes",
}
ERRORS = {"refuse": 3, "busy": 5, "changed": 6}
# These answer no request.
MUTE = ("silent", "unasked", "chatter", "garbage", "hang-up", "version")
DRIP_SECONDS = 1.9
SLOW_RATE = 20 << 10
BAIT_PIECES = 2
BOOT = 7
REACH_SECONDS = 5


async def manifest_of(addr, root, size):
    """The chaining values of a content, from an honest source."""
    host, _, port = addr.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    frames, values, waiting = Frames(), b"", []
    writer.write(frame("HELLO", v=[1, 0], node=os.urandom(16), boot=7))
    for first in range(0, pieces_of(size), 1024):
        writer.write(frame("MANIFEST", req=first + 1, root=root, first=first))
    while len(values) < 32 * pieces_of(size):
        data = await asyncio.wait_for(reader.read(1 << 16), 20)
        if not data:
            raise ConnectionError("the honest source closed")
        for kind, fields in frames.feed(data):
            if kind == "CVS":
                values += fields["cvs"]
            elif kind == "ERROR":
                raise ConnectionError(str(fields))
    writer.close()
    return values


class Liar:
    def __init__(self, content, root, manifest, kind, rate):
        self.content, self.root, self.manifest, self.kind = content, root, manifest, kind
        self.rate = rate
        self.figures = {"kind": kind, "gets": 0, "outstanding": 0, "wrong": 0, "sent": 0, "right": 0, "connections": 0, "dial_backs": 0}
        self.node = os.urandom(16)
        # The node of the super peer, by which its dial back is known.
        self.home = None
        self.turn = 0

    def rate_now(self):
        slow = self.kind == "slow" or self.kind == "bait" and self.figures["right"] >= BAIT_PIECES
        return SLOW_RATE if slow else self.rate

    async def serve(self, reader, writer):
        line = Line(self, reader, writer)
        try:
            await line.run()
        except (OSError, ConnectionError, ValueError):
            pass
        finally:
            writer.transport.abort()


class Line:
    """One chunk connection. What was asked is read while an answer is being sent."""

    def __init__(self, liar, reader, writer):
        self.liar, self.reader, self.writer = liar, reader, writer
        self.frames, self.asked = Frames(), asyncio.Queue()
        self.open_bytes = 0
        # By number, the length of each GET whose answer has not begun.
        self.waiting = {}
        self.proven = False

    async def run(self):
        answering = asyncio.ensure_future(self.answer_all())
        try:
            while data := await self.reader.read(1 << 16):
                for kind, fields in self.frames.feed(data):
                    await self.on_message(kind, fields)
        finally:
            answering.cancel()

    async def on_message(self, kind, fields):
        if kind == "HELLO":
            is_dial_back = fields["node"] == self.liar.home
            self.liar.figures["dial_backs" if is_dial_back else "connections"] += 1
            if self.liar.kind == "mute" and not is_dial_back:
                return
            peer = "{}:{}".format(*self.writer.get_extra_info("peername")[:2])
            version = [2, 0] if self.liar.kind == "version" and not is_dial_back else [1, 0]
            self.writer.write(frame("WELCOME", v=version, node=self.liar.node, boot=BOOT, ping=60_000, frame=65_536, addr=peer))
            if is_dial_back:
                return
            if self.liar.kind == "hang-up":
                await self.writer.drain()
                self.writer.close()
            elif self.liar.kind == "garbage":
                self.writer.write(os.urandom(4096))
            elif self.liar.kind == "unasked":
                await self.send(frame("CHUNK", req=77, off=0, len=PIECE, md5=bytes(16)))
                await self.payload(bytes(PIECE))
            elif self.liar.kind == "chatter":
                while True:
                    await self.send(frame("RUMOR", text="x" * 1000) * 16)
                    await asyncio.sleep(0.01)
        elif kind == "GET":
            self.liar.figures["gets"] += 1
            self.open_bytes += fields["len"]
            self.waiting[fields["req"]] = fields["len"]
            if not self.proven:
                self.liar.figures["outstanding"] = max(self.liar.figures["outstanding"], self.open_bytes)
            await self.asked.put((kind, fields))
        elif kind == "CANCEL":
            self.open_bytes -= self.waiting.pop(fields["req"], 0)
        elif kind == "MANIFEST":
            await self.asked.put((kind, fields))

    async def answer_all(self):
        # Long enough to see what is asked before anything was answered.
        await asyncio.sleep(0.05)
        try:
            while True:
                kind, fields = await self.asked.get()
                if self.liar.kind in MUTE:
                    # What it never answers is outstanding until it is canceled.
                    continue
                if kind == "GET" and self.waiting.pop(fields["req"], None) is None:
                    continue
                await (self.on_get if kind == "GET" else self.on_manifest)(fields)
        except (OSError, ConnectionError):
            self.writer.transport.abort()

    async def send(self, data, drip=False):
        if drip:
            for byte in data:
                self.writer.write(bytes([byte]))
                await asyncio.sleep(DRIP_SECONDS)
            return
        self.writer.write(data)
        await self.writer.drain()

    async def payload(self, data, drip=False, right=False):
        """Raw bytes, at the rate of the liar. What is counted is counted before the last byte goes out:
        the next request can arrive at once after it."""
        if drip:
            for byte in data:
                self.count(1)
                self.writer.write(bytes([byte]))
                await asyncio.sleep(DRIP_SECONDS)
            return
        step = 16 << 10
        due = time.monotonic()
        for at in range(0, len(data), step):
            part = data[at:at + step]
            self.count(len(part))
            # From the end of a right piece on it may be asked for more.
            self.proven |= right and at + step >= len(data)
            self.writer.write(part)
            await self.writer.drain()
            if rate := self.liar.rate_now():
                due += len(part) / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    def count(self, sent):
        self.liar.figures["sent"] += sent
        self.open_bytes -= sent

    async def on_manifest(self, fields):
        kind, values = self.liar.kind, self.liar.manifest
        if kind in ERRORS and kind != "changed":
            return await self.send(frame("ERROR", code=ERRORS[kind], message="no", req=fields["req"]))
        if kind in MUTE:
            return
        if kind == "forged-manifest":
            values = hashlib.shake_256(values).digest(len(values))
        size = {"false-size": len(self.liar.content) + 1, "huge-size": 1 << 60}.get(kind, len(self.liar.content))
        first = fields["first"] * 32
        page = frame("CVS", req=fields["req"], size=size, first=fields["first"], cvs=values[first:first + 32 * 1024])
        await self.send(page, drip=kind == "drip")

    async def on_get(self, fields):
        kind, figures = self.liar.kind, self.liar.figures
        at, length = fields["off"], fields["len"]
        data = self.liar.content[at:at + length]
        data += bytes(length - len(data))
        last = at + length >= len(self.liar.content)
        self.liar.turn += 1
        wrong = kind in ("wrong-bytes", "md5-of-wrong") or kind == "proof-then-wrong" and not last \
            or kind == "equivocate" and not last and self.liar.turn % 2 == 0
        if kind in ERRORS:
            return await self.send(frame("ERROR", code=ERRORS[kind], message="no", req=fields["req"]))
        if kind in MUTE:
            return
        right_md5 = hashlib.md5(data).digest()
        if wrong:
            data = bytes(b ^ 0x55 for b in data[:64]) + data[64:]
        md5 = {"wrong-md5": bytes(16), "wrong-bytes": right_md5}.get(kind, hashlib.md5(data).digest())
        said = {"wrong-length": length + 1, "huge-length": (1 << 32) - 1}.get(kind, length)
        offset = at + PIECE if kind == "wrong-offset" else at
        md5 = None if kind == "no-md5" else md5
        await self.send(frame("CHUNK", req=fields["req"], off=offset, len=said, md5=md5), drip=kind == "drip")
        if kind == "close-after-header":
            raise ConnectionError
        if kind == "truncate":
            await self.payload(data[:length // 2])
            raise ConnectionError
        if kind == "stall":
            await self.payload(data[:length // 4])
            await asyncio.sleep(3600)
        await self.payload(data, drip=kind in ("drip", "drip-chunk"), right=not wrong)
        figures["wrong" if wrong else "right"] += 1


async def register(liar, addr, path, size, port, host):
    """A session that stays open, and whether the super peer has reported that it reached the liar; None
    if it reported nothing in time."""
    home, _, home_port = addr.rpartition(":")
    reader, writer = await asyncio.open_connection(home, int(home_port), local_addr=(host, 0))
    writer.write(frame("HELLO", v=[1, 0], node=liar.node, boot=BOOT, feat=["reach"]) + frame("LOGIN", mode="open"))
    writer.write(frame("REGISTER", seq=1, port=port, host=host, files=[{"p": path, "s": size, "r": liar.root}]))
    frames, acked, reached, until = Frames(), False, None, time.monotonic() + 20
    while not acked or reached is None:
        try:
            data = await asyncio.wait_for(reader.read(1 << 16), max(0.01, until - time.monotonic()))
        except asyncio.TimeoutError:
            if acked:
                break
            raise
        if not data:
            raise ConnectionError("the super peer closed the session")
        for kind, fields in frames.feed(data):
            if kind == "WELCOME":
                liar.home = fields["node"]
            elif kind == "ACK":
                acked, until = True, time.monotonic() + REACH_SECONDS
            elif kind == "REACH":
                reached = fields["ok"]
            elif kind == "ERROR":
                raise ConnectionError(str(fields))
    return reader, writer, reached


async def keep(liar, registered, addr, *record):
    """Keeps the content registered, also when the super peer was restarted."""
    while True:
        try:
            reader, writer, reached = await register(liar, addr, *record)
            if not registered.done():
                registered.set_result(reached)
            while True:
                await asyncio.sleep(20)
                writer.write(frame("PING", n=1))
                if not await asyncio.wait_for(reader.read(1 << 16), 20):
                    break
        except (OSError, ConnectionError, asyncio.TimeoutError):
            await asyncio.sleep(1)


async def main(addr, file, path, root, honest, kind, rate=0, host="127.0.0.1"):
    with open(file, "rb") as source:
        content = source.read()
    root = bytes.fromhex(root)
    manifest = b"" if len(content) <= PIECE else await manifest_of(honest, root, len(content))
    liar = Liar(content, root, manifest, kind, int(rate))
    server = await asyncio.start_server(liar.serve, host, 0, limit=1 << 18)
    port = server.sockets[0].getsockname()[1]
    size = {"false-size": len(content) + 1, "huge-size": 1 << 60}.get(kind, len(content))
    registered = asyncio.get_running_loop().create_future()
    keeping = asyncio.ensure_future(keep(liar, registered, addr, path, size, port, host))
    reached = await registered
    print(json.dumps({"addr": f"{host}:{port}", "reached": bool(reached)}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    keeping.cancel()
    print(json.dumps(liar.figures), flush=True)
    os._exit(0)


if __name__ == "__main__":
    raise_descriptors()
    asyncio.run(main(*sys.argv[1:]))
