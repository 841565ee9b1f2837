"""The network of a chaos run and the truth about it: super peers in a ring with chords, peers with
shares, a relay on some paths, and what each share holds.
"""
import json
import random
import threading
import time

from . import world as machine
from .world import ask, heard

SUPERS, PEERS = 5, 30
CHORDS = [(0, 2), (1, 3)]
LINKS = [(n, (n + 1) % SUPERS) for n in range(SUPERS)] + CHORDS
# This link, and these peers, are behind the relay.
RELAYED_LINK = (0, 2)
RELAYED_CHUNKS, RELAYED_SESSIONS = (3, 11), (7, 19)
CONTENTS = 40
SIZES = [0, 1, 900, 70_000, 1 << 20, (1 << 20) + 1, 3_000_000, 5_500_000]
STABLE_EACH, VOLATILE_EACH = 4, 2
SUPER_PORT, CHUNK_PORT = 4777, 4778
# Peers whose downloads go to a small file system, and its bytes.
SMALL_DISKS, SMALL_DISK_BYTES = (1, 8, 15), 24 << 20


class Node:
    """A super peer or a peer, in its namespace. `daemon` is None while it is down."""

    def __init__(self, kind, n, space):
        self.kind, self.n, self.space = kind, n, space
        self.name = f"{'s' if kind == 'super' else 'p'}{n}"
        self.daemon = None
        # What it was when it ran last.
        self.before = None
        # Seconds of the clock at which a fault of this node or its line last ended, or inf.
        self.disturbed = 0.0
        # The same of a SIGSTOP.
        self.stopped = 0.0

    def alive(self):
        return self.daemon is not None and self.daemon.is_alive()


class Peer(Node):
    def __init__(self, n, space, share):
        super().__init__("peer", n, space)
        self.share = share
        # What was written into the share, by path, as (size, root); volatile files come and go.
        self.stable, self.volatile = {}, {}
        # Every (path, root) it ever had.
        self.ever = set()
        # What its status said last: the super peer, sessions lost; and since when it did not change.
        self.seen, self.steady_since = None, float("inf")


class Network:
    def __init__(self, world, net, seed, log):
        self.world, self.net, self.log = world, net, log
        self.pick = random.Random(f"{seed} network")
        self.seed = seed
        self.contents = []
        self.lock = threading.Lock()
        self.make_contents()
        self.here = net.join()
        self.supers = [Node("super", n, net.space(f"s{n}")) for n in range(SUPERS)]
        self.peers = []
        for n in range(PEERS):
            share = world.dir / f"share{n}"
            share.mkdir()
            self.peers.append(Peer(n, net.space(f"p{n}"), share))
        self.relay_space = net.space("relay")
        self.fill_shares()
        self.start_relay()

    # ---- truth ----------------------------------------------------------------------------------

    def make_contents(self):
        folder = self.world.dir / "contents"
        folder.mkdir()
        for n in range(CONTENTS):
            size = SIZES[n % len(SIZES)] + (n if SIZES[n % len(SIZES)] > 1 else 0)
            path = folder / str(n)
            root = machine.content(path, size, f"{self.seed} {n}")
            self.contents.append((path, size, root))

    def put(self, peer, path, n, stable=False):
        """Writes content n at this path of the share, by rename."""
        source, size, root = self.contents[n]
        target = peer.share / path
        target.parent.mkdir(exist_ok=True)
        # Not in the share, which is watched.
        fresh = self.world.dir / f"fresh-{peer.name}"
        fresh.write_bytes(source.read_bytes())
        with self.lock:
            (peer.stable if stable else peer.volatile)[path] = (size, root)
            peer.ever.add((path, root))
        fresh.rename(target)

    def remove(self, peer, path):
        with self.lock:
            peer.volatile.pop(path, None)
        (peer.share / path).unlink(missing_ok=True)

    def fill_shares(self):
        for peer in self.peers:
            for n in self.pick.sample(range(CONTENTS), STABLE_EACH):
                self.put(peer, f"stable/content {n} stable.bin", n, stable=True)
            for k in range(VOLATILE_EACH):
                n = self.pick.randrange(CONTENTS)
                self.put(peer, f"volatile/content {n} volatile {k}.bin", n)

    def source_of(self, peer):
        """The address that hits name."""
        host = self.relay_space.ip if peer.n in RELAYED_CHUNKS else peer.space.ip
        return f"{host}:{self.chunk_port(peer)}"

    def chunk_port(self, peer):
        return CHUNK_PORT + peer.n if peer.n in RELAYED_CHUNKS else CHUNK_PORT

    # ---- daemons --------------------------------------------------------------------------------

    def start_relay(self):
        tcp, udp = [], []
        relay = self.relay_space.ip
        for n in RELAYED_CHUNKS:
            port = self.chunk_port(self.peers[n])
            tcp.append([f"{relay}:{port}", f"{self.peers[n].space.ip}:{port}", "chunk"])
        for n in RELAYED_SESSIONS:
            for home in self.supers:
                tcp.append([f"{relay}:{6000 + home.n}", f"{home.space.ip}:{SUPER_PORT}", "session"])
            break
        a, b = RELAYED_LINK
        udp.append([f"{relay}:7001", self.address(a), f"{relay}:7002", self.address(b)])
        self.relay = self.world.tool("relay", self.seed, json.dumps({"tcp": tcp, "udp": udp}), prefix=self.relay_space.prefix)
        heard(self.relay)

    def harm(self, likely):
        return ask(self.relay, json.dumps({"harm": likely}))

    def address(self, n):
        return f"{self.supers[n].space.ip}:{SUPER_PORT}"

    def neighbor_address(self, n, other):
        """The address under which super peer n knows the other."""
        if (n, other) == RELAYED_LINK:
            return f"{self.relay_space.ip}:7001"
        if (other, n) == RELAYED_LINK:
            return f"{self.relay_space.ip}:7002"
        return self.address(other)

    def start(self, node):
        if node.kind == "super":
            arguments = []
            for a, b in LINKS:
                if node.n in (a, b):
                    arguments += ["--neighbor", self.neighbor_address(node.n, b if node.n == a else a)]
            node.daemon = self.world.super(node.name, *arguments, listen=f"{node.space.ip}:{SUPER_PORT}", prefix=node.space.prefix, before=node.before)
            node.before = node.daemon
            return
        order = random.Random(f"{self.seed} homes {node.n}").sample(range(SUPERS), 3)
        homes = [f"{self.relay_space.ip}:{6000 + n}" if node.n in RELAYED_SESSIONS else self.address(n) for n in order]
        more = [argument for home in homes[1:] for argument in ("--super", home)]
        if node.n in RELAYED_CHUNKS:
            more += ["--advertise", self.relay_space.ip]
        # It may be long until a super peer is back.
        node.daemon = self.world.peer(node.name, homes[0], node.share, *more, "--connect-timeout", "600s",
                                      listen=f"{node.space.ip}:{self.chunk_port(node)}", prefix=node.space.prefix, before=node.before)
        node.before = node.daemon

    def home_of(self, address):
        """The super peer with this address, which may be one of the relay's."""
        for home in self.supers:
            if address in (self.address(home.n), f"{self.relay_space.ip}:{6000 + home.n}"):
                return home.n
        return None

    def start_all(self):
        for node in self.supers + self.peers:
            self.start(node)

    # ---- what the nodes say ---------------------------------------------------------------------

    def status(self, peer):
        """The counters of a peer and the address of its super peer, by its control socket."""
        if not peer.alive():
            return None
        code, events, _ = self.world.run("status", "--control", peer.daemon.control, limit=10)
        for event in events:
            if event.get("event") == "status":
                return event
        return None

    def watch(self, peer):
        """Notes whether the peer has the same open session as before."""
        daemon = peer.daemon
        status = self.status(peer)
        seen = None
        if status and status["peer"].get("sessions_up") == 1:
            seen = (daemon.pid, self.home_of(status.get("super")), status["peer"].get("sessions_lost"))
        if seen is None or seen != peer.seen:
            peer.seen, peer.steady_since = seen, time.monotonic() if seen else float("inf")
        return seen

    def hits(self, n, pattern="*", limit=30.0, *more):
        """All hits at super peer n as {(path, root, source)}, and the `done`; None if it failed."""
        code, events, _ = self.world.run("query", pattern, "--super", self.address(n), *more, limit=limit)
        done = events[-1] if events and events[-1].get("event") == "done" else None
        return code, {(event["path"], event["root"], event["source"]) for event in events if event.get("event") == "hit"}, done

    def listing(self, n):
        """{(path, root): holders} of super peer n, or None."""
        code, events, _ = self.world.run("list", "--super", self.address(n), limit=30)
        return {(event["path"], event["root"]): event["holders"] for event in events if event.get("event") == "file"} if code == 0 else None

    def on_disk(self):
        """Every shared file as {(path, root, source)}, hashed now."""
        return {record for peer in self.peers for record in self.on_disk_of(peer)}

    def on_disk_of(self, peer):
        files = [path for path in peer.share.rglob("*") if path.is_file()]
        return {(str(path.relative_to(peer.share)), machine.root_of(path), self.source_of(peer)) for path in files}
