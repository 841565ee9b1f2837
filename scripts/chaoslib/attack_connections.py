"""Lines of the attack table: connections that do nothing, at a super peer, a peer and its control
socket.
"""
import time

from .attack_table import HONEST_P99_MAX, mib, ratio
from .world import content, heard, quantile, root_of, rss_of, started

IDLE = 2000
CONTROL_IDLE = 1000
READERS = 700
READER_KINDS = {"slow": "read 1 KiB in 4 s", "unread": "read nothing", "close": "ask for 64 chunks and leave"}
QUERIES, GETS = 100, 40
# Between two honest commands, so that the attack lasts longer than any deadline of a connection.
GAP_S = 0.12
# The part of the connections of an attack that must have opened.
STARTED = 0.9
FILE = "the tune of the honest peer.bin"


def honest(world, home, root, tag, via=()):
    """Queries and downloads by one-shot commands: their seconds, and how many of them failed."""
    queries, gets, failed = [], [], []
    for _ in range(QUERIES):
        time.sleep(GAP_S)
        code, events, took = world.run("query", FILE, *(via or ("--super", home)), limit=30)
        queries.append(took)
        if code != 0 or not any(event["event"] == "hit" for event in events):
            failed.append(("query", code))
    for n in range(GETS):
        time.sleep(GAP_S)
        out = world.dir / f"got-{tag}-{n}"
        code, _, took = world.run("get", FILE, "-o", out, "--super", home, limit=60)
        gets.append(took)
        if code != 0 or root_of(out) != root:
            failed.append(("get", code))
        out.unlink(missing_ok=True)
    return queries, gets, failed


def network(world):
    home = world.super("home")
    share = world.dir / "share"
    share.mkdir(exist_ok=True)
    root = content(share / FILE, (2 << 20) + 12_345, 1)
    peer = world.peer("holder", home.addr, share)
    world.wait_found(home.addr, FILE)
    return home, peer, root


def compare(world, table, rounds, line, attack, count, measure):
    """Alternates rounds without and with an attack of `count` connections; rows: success and p99."""
    free, under, failed_free, failed, asked = ([], []), ([], []), [], [], 0
    for n in range(rounds):
        queries, gets, bad = measure(f"{n}-free")
        free[0].extend(queries), free[1].extend(gets), failed_free.extend(bad)
        idlers = attack()
        started(idlers, STARTED * count)
        queries, gets, bad = measure(f"{n}-attack")
        under[0].extend(queries), under[1].extend(gets), failed.extend(bad)
        asked += len(queries) + len(gets)
        idlers.stdin.close()
        figures = heard(idlers)
        world.end(idlers)
    reasons = ", ".join(f"{what} exit {code}" for what, code in sorted(set(failed)))
    table.add(f"{line}: honest commands that succeed", f"{len(free[0] + free[1]) - len(failed_free)} of {asked}", f"{asked - len(failed)} of {asked}", "all",
              not failed and not failed_free, reasons or f"connections opened {figures['opened']}, failed {figures['failed']}")
    for what, a, b in [("query", free[0], under[0]), ("get", free[1], under[1])]:
        if a:
            before, after = quantile(a, 0.99), quantile(b, 0.99)
            table.add(f"{line}: {what}, p99", f"{before * 1e3:.1f} ms", f"{after * 1e3:.1f} ms", f"≤ {HONEST_P99_MAX} ×", after <= HONEST_P99_MAX * before, ratio(before, after))


def idle_super(world, table, rounds):
    home, _, root = network(world)
    compare(world, table, rounds, f"{IDLE} idle or dripping connections at a super peer",
            lambda: world.attacker("idlers", "super", home.addr, IDLE), IDLE, lambda tag: honest(world, home.addr, root, tag))


def idle_peer(world, table, rounds):
    home, peer, root = network(world)
    compare(world, table, rounds, f"{IDLE} idle or dripping connections at a peer",
            lambda: world.attacker("idlers", "peer", peer.addr, IDLE), IDLE, lambda tag: honest(world, home.addr, root, tag))


def idle_control(world, table, rounds):
    home, peer, _ = network(world)

    def measure(_):
        took, failed = [], []
        for _ in range(QUERIES):
            code, _, seconds = world.run("status", "--control", peer.control, limit=30)
            took.append(seconds)
            if code != 0:
                failed.append(("status", code))
        return took, [], failed

    compare(world, table, rounds, f"{CONTROL_IDLE} idle clients of the control socket",
            lambda: world.attacker("idlers", "control", peer.control, CONTROL_IDLE), CONTROL_IDLE, measure)
    mode = oct((world.dir / peer.control).stat().st_mode & 0o777)
    table.add("mode of the control socket", "", mode, "0o600", mode == "0o600")


def readers(world, table, rounds):
    """Downloaders that ask for much and read slowly, not at all, or never come back for it."""
    home, peer, root = network(world)
    size = (world.dir / "share" / FILE).stat().st_size
    for how in ("slow", "unread", "close"):
        compare(world, table, rounds, f"{READERS} downloaders that {READER_KINDS[how]}",
                lambda: world.attacker("readers", peer.addr, root, size, READERS, how), READERS, lambda tag: honest(world, home.addr, root, tag))
        rss = rss_of(peer.pid)
        table.add("… memory of the peer after it", "", mib(rss), "", None)


LINES = {"idle-super": idle_super, "idle-peer": idle_peer, "idle-control": idle_control, "readers": readers}
