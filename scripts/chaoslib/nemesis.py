"""The faults of a chaos run, drawn from its seed: each begins, lasts some seconds, and ends.

A fault notes which nodes it disturbs, so that the checks know for which peers nothing is promised.
"""
import heapq
import os
import random
import signal
import socket
import time

from .liar import KINDS
from .network import CONTENTS, SMALL_DISKS, SUPERS

# Between two faults, and how many can be under way.
GAP_S, AT_ONCE = (0.3, 2.5), 6
LIARS_AT_ONCE = 3
# For this long one super peer, and up to this many of its peers, have no fault, so that there are
# registrations that the checks can rely on. Then another.
ERA_S, CALM_PEERS = 240.0, 10


class Nemesis:
    def __init__(self, network, seed, log):
        self.network, self.log = network, log
        self.pick = random.Random(f"{seed} nemesis")
        self.pending = []  # (when, order, name, what ends it)
        self.order = 0
        self.counts = {}
        self.busy = set()
        self.liars = 0
        self.calm, self.era, self.era_ends = set(), self.pick.randrange(SUPERS), 0.0
        self.faults = [
            (3, self.kill_super), (4, self.kill_peer), (2, self.stop_super), (3, self.stop_peer), (2, self.partition_halves), (2, self.isolate),
            (3, self.loss), (3, self.clog), (2, self.fill_disk), (3, self.harm_on_path), (1, self.flood), (1, self.idle), (2, self.noise),
            (6, self.change_share), (3, self.liar),
        ]

    # ---- the plan -------------------------------------------------------------------------------

    def step(self):
        """Ends what is due and perhaps begins a fault. Returns how long to wait."""
        now = time.monotonic()
        while self.pending and self.pending[0][0] <= now:
            self.end_first()
        if now > self.era_ends:
            self.begin_era(now)
        if len(self.pending) < AT_ONCE:
            weights = [weight for weight, _ in self.faults]
            (_, fault), = self.pick.choices(self.faults, weights)
            begun = fault()
            if begun:
                name, seconds, end = begun
                self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
                self.log(f"fault {name} for {seconds:.1f} s")
                self.order += 1
                heapq.heappush(self.pending, (now + seconds, self.order, name, end))
        return self.pick.uniform(*GAP_S)

    def begin_era(self, now):
        self.era, self.era_ends = (self.era + 1) % SUPERS, now + ERA_S
        peers = [peer.name for peer in self.network.peers if peer.seen and peer.seen[1] == self.era]
        self.calm = {f"s{self.era}", *peers[:CALM_PEERS]}
        self.log(f"without faults for {ERA_S:.0f} s: {' '.join(sorted(self.calm))}")

    def end_first(self):
        _, _, name, end = heapq.heappop(self.pending)
        self.log(f"end of {name}")
        end()

    def heal(self):
        while self.pending:
            self.end_first()

    def current(self):
        return [name for _, _, name, _ in self.pending]

    def take(self, node):
        """Marks a node as disturbed; None if another fault has it."""
        if node.name in self.busy or node.name in self.calm:
            return None
        self.busy.add(node.name)
        node.disturbed = float("inf")
        return node

    def give(self, *nodes):
        for node in nodes:
            self.busy.discard(node.name)
            node.disturbed = time.monotonic()

    # ---- processes ------------------------------------------------------------------------------

    def kill(self, nodes):
        node = self.take(self.pick.choice(nodes))
        if not node:
            return None
        seconds = self.pick.choice([0.2, 1, 5, 12])
        self.network.world.end(node.daemon.child, kill=True)
        node.daemon = None

        def end():
            self.network.start(node)
            self.give(node)
        return f"kill -9 of {node.name}", seconds, end

    def kill_super(self):
        return self.kill(self.network.supers)

    def kill_peer(self):
        return self.kill(self.network.peers)

    def stop(self, nodes, seconds):
        node = self.take(self.pick.choice(nodes))
        if not node:
            return None
        os.kill(node.daemon.pid, signal.SIGSTOP)
        node.stopped = float("inf")

        def end():
            node.stopped = time.monotonic()
            os.kill(node.daemon.pid, signal.SIGCONT)
            self.give(node)
        return f"SIGSTOP of {node.name}", seconds, end

    def stop_super(self):
        return self.stop(self.network.supers, self.pick.choice([1, 5, 15]))

    def stop_peer(self):
        return self.stop(self.network.peers, self.pick.choice([1, 10, 40]))

    # ---- the network ----------------------------------------------------------------------------

    def nodes(self):
        return [node for node in self.network.supers + self.network.peers if node.name not in self.calm]

    def partition_halves(self):
        nodes = self.nodes()
        if any(node.space.blocked for node in nodes):
            return None
        half = set(self.pick.sample(range(len(nodes)), len(nodes) // 2))
        one_way = self.pick.random() < 0.3
        sides = [[node for n, node in enumerate(nodes) if (n in half) == side] for side in (True, False)]
        for here, there in (sides, sides[::-1]):
            for node in here:
                node.space.block([other.space.ip for other in there])
                node.disturbed = float("inf")
            if one_way:
                for node in there:
                    node.disturbed = float("inf")
                break

        def end():
            for node in nodes:
                node.space.block([])
                if node.name not in self.busy:
                    node.disturbed = time.monotonic()
        return f"partition in halves{' one way' if one_way else ''}", self.pick.uniform(3, 20), end

    def isolate(self):
        nodes = self.nodes()
        node = self.take(self.pick.choice(nodes))
        if not node or node.space.blocked:
            if node:
                self.give(node)
            return None
        node.space.block([other.space.ip for other in nodes if other is not node])

        def end():
            node.space.block([])
            self.give(node)
        return f"isolation of {node.name}", self.pick.choice([2, 10, 45]), end

    def loss(self):
        node = self.take(self.pick.choice(self.nodes()))
        if not node:
            return None
        percent = self.pick.choice([2, 10, 30, 60])
        node.space.lose(percent)

        def end():
            node.space.lose(0)
            self.give(node)
        return f"loss of {percent} % at {node.name}", self.pick.uniform(5, 25), end

    def clog(self):
        node = self.take(self.pick.choice(self.nodes()))
        if not node:
            return None
        rate = self.pick.choice([16_000, 100_000, 1_000_000])
        node.space.rate(rate)

        def end():
            node.space.rate(None)
            self.give(node)
        return f"line of {node.name} at {rate} B/s", self.pick.uniform(5, 25), end

    def harm_on_path(self):
        if "relay" in self.busy:
            return None
        self.busy.add("relay")
        harm = self.pick.choice([0.3, 1.0])
        self.network.harm(harm)

        def end():
            self.busy.discard("relay")
            self.log(f"relay {self.network.harm(0)}")
        return f"harm {harm} at the relay", self.pick.uniform(5, 40), end

    # ---- disks ----------------------------------------------------------------------------------

    def fill_disk(self):
        n = self.pick.choice(SMALL_DISKS)
        filler = self.network.world.dir / f"small{n}" / "filler"
        if filler.exists():
            return None
        try:
            with open(filler, "wb") as file:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
        except OSError:
            pass
        return f"full disk of downloads of p{n}", self.pick.uniform(3, 20), lambda: filler.unlink(missing_ok=True)

    def change_share(self):
        network, peer = self.network, self.pick.choice(self.network.peers)
        paths = sorted(peer.volatile)
        what = self.pick.choice(["add", "remove", "replace", "rewrite", "rename"])
        n = self.pick.randrange(CONTENTS)
        if what == "add" or not paths:
            if len(paths) > 5:
                return None
            network.put(peer, f"volatile/content {n} added {self.pick.randrange(1000)}.bin", n)
        elif what == "remove":
            network.remove(peer, self.pick.choice(paths))
        elif what == "replace":
            network.put(peer, self.pick.choice(paths), n)
        elif what == "rename":
            path, size_root = self.pick.choice(sorted(peer.volatile.items()))
            moved = f"volatile/moved {self.pick.randrange(1000)} content.bin"
            with network.lock:
                del peer.volatile[path]
                peer.volatile[moved] = size_root
                peer.ever.add((moved, size_root[1]))
            (peer.share / path).rename(peer.share / moved)
        else:
            # In place, while it may be served.
            path = self.pick.choice(paths)
            source, size, root = network.contents[n]
            with network.lock:
                peer.volatile[path] = (size, root)
                peer.ever.add((path, root))
            (peer.share / path).write_bytes(source.read_bytes())
        return f"{what} in the share of {peer.name}", 0.0, lambda: None

    # ---- adversaries ----------------------------------------------------------------------------

    def attack(self, name, seconds, module, *arguments):
        tool = self.network.world.tool(module, *arguments)

        def end():
            tool.stdin.close()
            self.network.world.end(tool, kill=True)
        return name, seconds, end

    def flood(self):
        if "flood" in self.busy:
            return None
        home = self.pick.choice(self.network.supers)
        self.busy.add("flood")
        unread = self.pick.random() < 0.5
        name, seconds, end = self.attack(f"flood of {'unread ' if unread else ''}queries at {home.name}", self.pick.uniform(3, 10), "askers", self.network.address(home.n),
                                         40, 64, 10_000, "*", "unread" if unread else "read")

        def both():
            end()
            self.busy.discard("flood")
        return name, seconds, both

    def idle(self):
        if "idle" in self.busy:
            return None
        self.busy.add("idle")
        node = self.pick.choice(self.network.supers + self.network.peers)
        address = self.network.address(node.n) if node.kind == "super" else f"{node.space.ip}:{self.network.chunk_port(node)}"
        name, seconds, end = self.attack(f"700 idle connections at {node.name}", self.pick.uniform(5, 20), "idlers", node.kind, address, 700, 1)

        def both():
            end()
            self.busy.discard("idle")
        return name, seconds, both

    def noise(self):
        """Datagrams of a stranger."""
        home = self.pick.choice(self.network.supers)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(500):
                sock.sendto(self.pick.randbytes(self.pick.randrange(1, 1200)), (home.space.ip, 4777))
        return f"noise at {home.name}", 0.0, lambda: None

    def liar(self):
        if self.liars >= LIARS_AT_ONCE:
            return None
        kind = self.pick.choice(sorted(KINDS))
        n = self.pick.randrange(CONTENTS)
        file, size, root = self.network.contents[n]
        holders = [peer for peer in self.network.peers if peer.alive() and peer.name not in self.busy and any(known == root for _, known in peer.stable.values())]
        home = self.pick.choice(self.network.supers)
        if not holders or size == 0 or not home.alive():
            return None
        self.liars += 1
        name, seconds, end = self.attack(f"liar {kind} for content {n} at {home.name}", self.pick.uniform(10, 40), "liar", self.network.address(home.n),
                                         file, f"lies/content {n} stable.bin", root, self.network.source_of(holders[0]), kind, 0, self.network.here)

        def both():
            end()
            self.liars -= 1
        return name, seconds, both
