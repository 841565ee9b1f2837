"""A relay on the path: a process that forwards connections and datagrams, and does harm to them.

    python3 -m chaoslib.relay SEED CONFIG

CONFIG is JSON: {"tcp": [[LISTEN, TARGET, "chunk"|"session"]], "udp": [[LISTEN_A, A, LISTEN_B, B]]}.
What arrives at LISTEN_A from A goes to B from LISTEN_B, and the other way round. Each line of its
input is {"harm": P}: how likely harm is, 0 to 1; it answers with its figures.

Chunk connections get flipped bits, stalls and cuts. Sessions get stalls and cuts, and datagrams are
lost, repeated, delayed, and mixed with truncated copies and noise: a flipped bit in these could not
be distinguished from an honest message, because nothing authenticates them.
"""
import asyncio
import json
import random
import sys

PART = 16 << 10


class Relay:
    def __init__(self, seed):
        self.pick = random.Random(seed)
        self.harm = 0.0
        self.figures = {"flips": 0, "cuts": 0, "stalls": 0, "lost": 0, "repeated": 0, "delayed": 0, "noise": 0}

    def hits(self, weight):
        return self.pick.random() < self.harm * weight

    # ---- connections ----------------------------------------------------------------------------

    async def connection(self, reader, writer, target, kind):
        host, port = split(target)
        try:
            far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(host, port), 5)
        except (OSError, asyncio.TimeoutError):
            writer.transport.abort()
            return
        ways = [asyncio.ensure_future(self.pump(reader, far_writer, kind)), asyncio.ensure_future(self.pump(far_reader, writer, kind))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.2)
        for way in ways:
            way.cancel()
        writer.transport.abort()
        far_writer.transport.abort()

    async def pump(self, reader, writer, kind):
        try:
            while data := await reader.read(PART):
                if self.hits(0.002):
                    self.figures["cuts"] += 1
                    return
                if self.hits(0.002):
                    self.figures["stalls"] += 1
                    await asyncio.sleep(self.pick.uniform(0.5, 12))
                if kind == "chunk" and self.hits(0.01):
                    self.figures["flips"] += 1
                    data = bytearray(data)
                    data[self.pick.randrange(len(data))] ^= 1 << self.pick.randrange(8)
                writer.write(data)
                await writer.drain()
        except (OSError, ConnectionError):
            pass

    # ---- datagrams ------------------------------------------------------------------------------

    def datagram(self, data, send):
        if self.hits(0.15):
            self.figures["lost"] += 1
            return
        send(data)
        loop = asyncio.get_running_loop()
        if self.hits(0.1):
            self.figures["repeated"] += 1
            loop.call_later(self.pick.uniform(0, 3), send, data)
        if self.hits(0.05):
            self.figures["noise"] += 1
            send(self.pick.randbytes(self.pick.randrange(1, 1300)))
            send(data[:self.pick.randrange(len(data))])

    def delayed(self, data, send):
        if self.hits(0.1):
            self.figures["delayed"] += 1
            asyncio.get_running_loop().call_later(self.pick.uniform(0.001, 0.5), self.datagram, data, send)
        else:
            self.datagram(data, send)


class End(asyncio.DatagramProtocol):
    """One end of a link: what arrives from `near` leaves at the other end."""

    def __init__(self, relay, near):
        self.relay, self.near, self.other = relay, split(near), None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        if addr == self.near and data:
            self.relay.delayed(data, lambda part: self.other.transport.sendto(part, self.other.near))

    def error_received(self, _):
        pass


def split(addr):
    host, _, port = addr.rpartition(":")
    return host, int(port)


async def main(seed, config):
    relay, config = Relay(seed), json.loads(config)
    loop = asyncio.get_running_loop()
    for listen, target, kind in config["tcp"]:
        await asyncio.start_server(lambda r, w, target=target, kind=kind: relay.connection(r, w, target, kind), *split(listen))
    for listen_a, a, listen_b, b in config["udp"]:
        _, one = await loop.create_datagram_endpoint(lambda a=a: End(relay, a), local_addr=split(listen_a))
        _, two = await loop.create_datagram_endpoint(lambda b=b: End(relay, b), local_addr=split(listen_b))
        one.other, two.other = two, one
    print(json.dumps({"up": True}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        relay.harm = json.loads(line)["harm"]
        print(json.dumps(relay.figures), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
