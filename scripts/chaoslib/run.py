"""scripts/chaos run: five super peers and thirty peers in network namespaces, under faults that a
seed draws, with clients whose every answer is compared with the truth; then the faults end, and
within a stated time everything must be as if there had been none.

Prints what happens, with the seconds since the start. Exits 1 if something was violated.
"""
import argparse
import json
import os
import random
import sys
import threading
import time

from . import world as machine

CLIENTS = 3
# A registration is relied on if the session of the peer was open for this long, and nothing on its
# path was disturbed for this long: the time in which a super peer notices a silent session, and more.
STEADY_S, CALM_S = 20.0, 100.0
# After the faults end: until every share is in the index, and until memory is back.
HEAL_S, SETTLE_S = 120.0, 150.0
# A download gives up after this long without progress. A command that takes longer than its limit,
# which allows for lines that faults slow down one after the other, hangs.
GET_TIMEOUT = "60s"
GET_LIMIT_S, QUERY_LIMIT_S = 180.0, 90.0
# Exit codes that a command may end with while there are faults.
ALLOWED = {"get": {0, 3, 4, 5, 6, 9}, "query": {0, 3, 4, 5}}


class Log:
    def __init__(self, path):
        self.begun = time.monotonic()
        self.file = open(path, "a") if path else None
        self.lock = threading.Lock()
        self.violations = []

    def __call__(self, text):
        line = f"{time.monotonic() - self.begun:8.2f}  {text}"
        with self.lock:
            print(line, flush=True)
            if self.file:
                print(line, file=self.file, flush=True)

    def violation(self, text):
        self.violations.append(text)
        self(f"VIOLATION {text}")


class Checks:
    """The clients, and what must hold of their answers at all times."""

    def __init__(self, network, nemesis, log, seed):
        self.network, self.nemesis, self.log, self.seed = network, nemesis, log, seed
        self.world = network.world
        self.counts = {"queries": 0, "complete": 0, "records relied on": 0, "gets": 0, "gets right": 0, "gets killed": 0, "exits": {}}
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.got = self.world.dir / "got"
        self.threads = []

    def count(self, what, more=1):
        with self.lock:
            self.counts[what] += more

    def begin(self):
        jobs = [self.client] * CLIENTS + [self.watcher]
        self.threads = [threading.Thread(target=self.guard, args=(job, n), daemon=True) for n, job in enumerate(jobs)]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(GET_LIMIT_S + 10)
            if thread.is_alive():
                self.log.violation("a client of this script has not ended")

    def guard(self, job, n):
        try:
            job(random.Random(f"{self.seed} client {n}"))
        except Exception as error:
            if not self.over.is_set():
                self.log.violation(f"the {job.__name__} of this script failed: {error!r}")

    def watcher(self, _):
        while not self.over.is_set():
            for peer in self.network.peers:
                if self.over.wait(0.1):
                    return
                self.network.watch(peer)

    def client(self, pick):
        while not self.over.is_set():
            pick.choices([self.query, self.get, self.get_by_peer, self.killed_get], [5, 3, 3, 1])[0](pick)
            self.over.wait(pick.uniform(0.05, 0.5))

    # ---- searches -------------------------------------------------------------------------------

    def relied_on(self):
        """The peers whose stable files are certainly registered now, with what they were seen as."""
        now = time.monotonic()
        steady = {}
        for peer in self.network.peers:
            seen = peer.seen
            if not seen or seen[1] is None or now - peer.steady_since < STEADY_S or now - peer.disturbed < CALM_S:
                continue
            if now - self.network.supers[seen[1]].disturbed < CALM_S:
                continue
            steady[peer.n] = seen
        return steady

    def query(self, pick):
        n = pick.randrange(len(self.network.supers))
        before, begun = self.relied_on(), time.monotonic()
        exit_code, hits, done = self.network.hits(n, "*", QUERY_LIMIT_S, "--policy", pick.choice(["digest", "flood", "tree", "ring"]), "--budget", pick.choice(["1s", "3s"]))
        self.count("queries")
        self.exit("query", exit_code, self.network.supers[n], begun)
        ever = {(path, root, self.network.source_of(peer)) for peer in self.network.peers for path, root in list(peer.ever)}
        invented = {hit for hit in hits if hit not in ever and not hit[0].startswith("lies/") and not hit[2].startswith(self.network.here)}
        # A file that is rewritten in place can be hashed in between.
        invented = {hit for hit in invented if hit[0].startswith("stable/")}
        if invented:
            self.log.violation(f"a hit that no share ever had: {sorted(invented)[:3]}")
        if not done or not done.get("complete"):
            return
        self.count("complete")
        for peer_number, seen in before.items():
            peer = self.network.peers[peer_number]
            missing = {path for path, (_, root) in peer.stable.items() if (path, root, self.network.source_of(peer)) not in hits}
            self.count("records relied on", len(peer.stable))
            if missing and self.network.watch(peer) == seen and peer.disturbed != float("inf"):
                self.log.violation(f"complete at s{n}, wrongly: {peer.name} at s{seen[1]} had {sorted(missing)} registered; under way: {self.nemesis.current()}")

    # ---- downloads ------------------------------------------------------------------------------

    def exit(self, what, code, node, begun):
        """Counts how a command ended that asked this node. It may hang only while the node is stopped."""
        with self.lock:
            key = f"{what} {code}"
            self.counts["exits"][key] = self.counts["exits"].get(key, 0) + 1
        if code not in ALLOWED[what] and not (code == 124 and node.stopped > begun):
            self.log.violation(f"{what} at {node.name} {'hangs' if code == 124 else f'ended with {code}'}; under way: {self.nemesis.current()}")

    def fetch(self, out, root, node, whom, *way):
        """A download by way of this node: nothing wrong has a final name. Returns its exit code."""
        begun = time.monotonic()
        code, _, _ = self.world.run("get", root, "-o", out, *way, "--timeout", GET_TIMEOUT, limit=GET_LIMIT_S)
        self.count("gets")
        self.exit("get", code, node, begun)
        if out.exists():
            if machine.root_of(out) != root:
                self.log.violation(f"wrong bytes under the final name {out.name}, by {whom}; under way: {self.nemesis.current()}")
            elif code == 0:
                self.count("gets right")
        elif code == 0:
            self.log.violation(f"get by {whom} ended with 0, and there is no {out.name}")
        return code

    def clear(self, out):
        for left in out.parent.glob(f"*{out.name}*"):
            left.unlink(missing_ok=True)

    def get(self, pick):
        n, home = pick.randrange(len(self.network.contents)), pick.randrange(len(self.network.supers))
        root = self.network.contents[n][2]
        out = self.got / f"one-shot {threading.get_ident()}"
        self.fetch(out, root, self.network.supers[home], f"a one-shot command at s{home}", "--super", self.network.address(home))
        self.clear(out)

    def folder_of(self, peer):
        small = self.world.dir / f"small{peer.n}"
        return small if small.exists() else self.got

    def get_by_peer(self, pick):
        n, peer = pick.randrange(len(self.network.contents)), pick.choice(self.network.peers)
        daemon, root = peer.daemon, self.network.contents[n][2]
        if daemon is None:
            return
        # A daemon that is killed after it has published a file cannot report it, and the file
        # stays. The name has the content in it, so that such a file is not taken for another one.
        out = self.folder_of(peer) / f"by-{peer.name}-{threading.get_ident()}-{n}"
        if self.fetch(out, root, peer, peer.name, "--control", daemon.control) == 0:
            self.clear(out)

    def killed_get(self, pick):
        """A download that is killed and begun again."""
        n, home = pick.randrange(len(self.network.contents)), pick.randrange(len(self.network.supers))
        root = self.network.contents[n][2]
        out = self.got / f"killed {threading.get_ident()}"
        self.world.run("get", root, "-o", out, "--super", self.network.address(home), limit=pick.uniform(0.01, 0.3))
        self.count("gets killed")
        if out.exists() and machine.root_of(out) != root:
            self.log.violation(f"wrong bytes under the final name after a kill; under way: {self.nemesis.current()}")
        self.fetch(out, root, self.network.supers[home], f"a command that was killed, at s{home}", "--super", self.network.address(home))
        self.clear(out)


class Figures:
    """Memory and descriptors of each daemon, before the faults and after them."""

    def __init__(self, network):
        self.network = network
        self.base = {node.name: self.measure(node) for node in network.supers + network.peers}

    def measure(self, node):
        """Bytes, and descriptors without those of sessions."""
        sessions = self.network.world.counts(self.network.address(node.n))["sessions"] - 1 if node.kind == "super" else 0
        return machine.rss_of(node.daemon.pid), machine.descriptors_of(node.daemon.pid) - sessions

    def grown(self):
        """What is not back, as text."""
        found = []
        for node in self.network.supers + self.network.peers:
            (rss, descriptors), (base, had) = self.measure(node), self.base[node.name]
            if rss > machine.RSS_FACTOR * base + machine.RSS_SPARE:
                found.append(f"{node.name} has {rss >> 20} MiB, before {base >> 20} MiB")
            if descriptors > had:
                found.append(f"{node.name} has {descriptors} descriptors, before {had}: {machine.open_of(node.daemon.pid)}")
        return found


def until(limit, look):
    """Looks until nothing is wrong. Returns the seconds, and what is wrong at the end."""
    begun = time.monotonic()
    while True:
        wrong = look()
        if not wrong or time.monotonic() - begun > limit:
            return time.monotonic() - begun, wrong
        time.sleep(1)


def unfound(network):
    """Shared files that a search at some super peer does not find, and hits that are not shared."""
    truth, wrong = network.on_disk(), []
    for n in range(len(network.supers)):
        _, hits, done = network.hits(n)
        if not done or not done.get("complete"):
            wrong.append(f"s{n} is not complete: {done and done.get('cut')}")
        if hits != truth:
            wrong.append(f"s{n} lacks {sorted(truth - hits)[:3]} and has {sorted(hits - truth)[:3]} too many")
    return wrong


def unlisted(network):
    """Where the list of a super peer is not what its peers share."""
    expected = [{} for _ in network.supers]
    wrong = []
    for peer in network.peers:
        seen = network.watch(peer)
        if not seen or seen[1] is None:
            wrong.append(f"{peer.name} has no session")
            continue
        for path, root, _ in network.on_disk_of(peer):
            expected[seen[1]][path, root] = expected[seen[1]].get((path, root), 0) + 1
    for n, records in enumerate(expected):
        if (listed := network.listing(n)) != records:
            wrong.append(f"the list of s{n} has {listed and len(listed)} records, its peers share {len(records)}")
    return wrong


def everywhere(network, log, homes, by):
    """Each content from these super peers, and by some peers: right, or a violation."""
    world, held, count = network.world, {root for _, root, _ in network.on_disk()}, 0
    for n, (_, size, root) in enumerate(network.contents):
        if root not in held:
            continue
        ways = [("--super", network.address(home.n)) for home in homes]
        ways += [("--control", network.peers[(n * 7 + k) % len(network.peers)].daemon.control) for k in range(by)]
        for way in ways:
            out = world.dir / "got" / "everywhere"
            code, _, _ = world.run("get", root, "-o", out, *way, limit=60)
            count += 1
            if code != 0 or not out.exists() or machine.root_of(out) != root:
                log.violation(f"content {n} of {size} bytes by {way} without a fault: exit {code}")
            out.unlink(missing_ok=True)
    log(f"{count} downloads of {len(held)} contents")


def healthy(network, log):
    for node in network.supers + network.peers:
        if node.daemon is not None and not node.daemon.is_alive():
            log.violation(f"{node.name} ended with {node.daemon.child.returncode}: {network.world.tail(node.name)}")
            node.daemon = None
            network.start(node)


def panics(network, log):
    for node in network.supers + network.peers:
        text = (network.world.dir / f"{node.name}.log").read_text(errors="replace")
        for line in text.splitlines():
            if "panicked" in line:
                log.violation(f"{node.name}: {line}")


def faults(network, options, log):
    """The time with faults."""
    from .nemesis import Nemesis
    nemesis = Nemesis(network, options.seed, log)
    # It leaves some peers of one super peer alone, and so must know where they are.
    for peer in network.peers:
        network.watch(peer)
    checks = Checks(network, nemesis, log, options.seed)
    checks.begin()
    try:
        ends = time.monotonic() + 60 * options.minutes
        while time.monotonic() < ends:
            wait = nemesis.step()
            healthy(network, log)
            time.sleep(wait)
        nemesis.heal()
        checks.end()
    finally:
        checks.over.set()
    log(f"faults {json.dumps(nemesis.counts)}")
    log(f"clients {json.dumps(checks.counts)}")
    for what in ("complete", "records relied on", "gets right"):
        if not checks.counts[what]:
            log.violation(f"the run showed nothing: {what} is 0")


def recovery(network, figures, log):
    for what, limit, look in [("every share is found everywhere", HEAL_S, lambda: unfound(network)),
                              ("every index lists what its peers share", HEAL_S, lambda: unlisted(network))]:
        seconds, wrong = until(limit, look)
        log(f"{what}: after {seconds:.1f} s")
        for text in wrong:
            log.violation(f"{what}, not after {limit:.0f} s: {text}")
    everywhere(network, log, network.supers, 2)
    healthy(network, log)
    seconds, wrong = until(SETTLE_S, figures.grown)
    log(f"memory and descriptors are back: after {seconds:.1f} s")
    for text in wrong:
        log.violation(f"not back after {SETTLE_S:.0f} s: {text}")
    panics(network, log)


def small_disks(world, network):
    from .network import SMALL_DISK_BYTES, SMALL_DISKS
    for n in SMALL_DISKS:
        folder = world.dir / f"small{n}"
        folder.mkdir()
        machine.run_quiet("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", folder)
        world.mounts.append(folder)


def main(arguments):
    parser = argparse.ArgumentParser(prog="scripts/chaos run", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="the seed of the faults (random)")
    parser.add_argument("--minutes", type=float, default=5, metavar="M", help="how long there are faults (5); the checks after them take some minutes more")
    parser.add_argument("--log", metavar="FILE", help="append what is printed to this file")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = int.from_bytes(os.urandom(4), "big")
        sys.argv += ["--seed", str(options.seed)]
    machine.need_root()
    machine.need_tools(("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables"))
    machine.need_python("msgpack", "blake3")
    machine.build()
    machine.isolate()
    machine.raise_descriptors()
    from .net import Net
    from .network import Network
    log = Log(options.log)
    log(f"scripts/chaos run --seed {options.seed} --minutes {options.minutes:g}, {machine.version()}, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC")
    with machine.World(keep=options.keep) as world, Net() as net:
        network = Network(world, net, options.seed, log)
        (world.dir / "got").mkdir()
        small_disks(world, network)
        network.start_all()
        seconds, wrong = until(HEAL_S, lambda: unfound(network))
        log(f"{len(network.supers)} super peers and {len(network.peers)} peers are up: after {seconds:.1f} s")
        if wrong:
            raise machine.Failed(f"the network did not come up: {wrong}")
        everywhere(network, log, network.supers[:1], 1)
        figures = Figures(network)
        faults(network, options, log)
        recovery(network, figures, log)
    log(f"{len(log.violations)} violations with seed {options.seed}")
    return 1 if log.violations else 0
