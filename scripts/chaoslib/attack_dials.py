"""Lines of the attack table: addresses that hits name, and what a download dials."""
import json
import selectors
import socket
import threading
import time

from .world import Failed, ask, content, root_of, wait_for

PORTS = 1000
WATCH_S = 30
SILENT = 300
SILENT_LIMIT_S = 300
# Connects to one host in WATCH_S: a burst of 8, then one each 250 ms (src/config/downloads.rs).
CONNECTS_MAX = 128
SIZE = (4 << 20) + 99
PATH = "the named content.bin"
SPELLINGS = ["127.0.0.1", "localhost", "LOCALHOST", "127.1", "127.000.000.001", "0x7f000001", "::ffff:127.0.0.1"]


class Victim:
    """Listens on many ports or addresses, and counts who connects. `how`: silent, or close."""

    def __init__(self, addresses, how="silent"):
        self.selector = selectors.DefaultSelector()
        self.how, self.connects, self.open, self.most_open, self.running = how, 0, {}, 0, True
        self.ports = []
        for address in addresses:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(64)
            sock.setblocking(False)
            self.ports.append(sock.getsockname()[1])
            self.selector.register(sock, selectors.EVENT_READ, "listener")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.running:
            for key, _ in self.selector.select(0.2):
                if key.data == "listener":
                    sock, _ = key.fileobj.accept()
                    self.connects += 1
                    if self.how == "close":
                        sock.close()
                        continue
                    sock.setblocking(False)
                    self.open[sock] = True
                    self.most_open = max(self.most_open, len(self.open))
                    self.selector.register(sock, selectors.EVENT_READ, "open")
                else:
                    try:
                        if key.fileobj.recv(4096):
                            continue
                    except OSError:
                        pass
                    self.selector.unregister(key.fileobj)
                    self.open.pop(key.fileobj, None)
                    key.fileobj.close()

    def stop(self):
        self.running = False
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()


def connects_of_get(world, home, listeners):
    """Connects, without those by which the super peer looks whether it reaches the peers."""
    return listeners.connects - world.counts(home.addr).get("dial_backs", 0)


def register(world, home, files, hosts):
    """A session for each host, which registers these files."""
    registrar = world.tool("registrar", home.addr)
    answer = ask(registrar, json.dumps({"files": files, "hosts": hosts}))
    if "error" in answer:
        raise Failed(f"the records of the attack were refused: {answer}")
    return registrar


def victim(world, table, _rounds):
    for how in ("silent", "close"):
        home = world.super(f"home-{how}")
        listeners = Victim([("127.9.9.9", 0)] * PORTS, how)
        registrar = register(world, home, [[PATH, SIZE, "ab" * 32]], [["127.9.9.9", port] for port in listeners.ports])
        begun = time.monotonic()
        code, _, _ = world.run("get", "ab" * 32, "-o", world.dir / "never", "--super", home.addr, limit=WATCH_S)
        took = time.monotonic() - begun
        connects = connects_of_get(world, home, listeners)
        listeners.stop()
        table.add(f"{PORTS} hits of one {how} victim: connects in {WATCH_S} s of one get", "", connects, f"1 to {CONNECTS_MAX}",
                  1 <= connects <= CONNECTS_MAX, f"at most {listeners.most_open} at once; exit {code} after {took:.0f} s")
        world.end(registrar)
        world.stop(home)


def silent(world, table, _rounds):
    home = world.super("home")
    share = world.dir / "share"
    share.mkdir()
    root = content(share / PATH, SIZE, 3)
    addresses = [(f"127.8.{n // 200}.{n % 200 + 1}", 0) for n in range(SILENT)]
    listeners = Victim(addresses)
    register(world, home, [[PATH, SIZE, root]], [[host, port] for (host, _), port in zip(addresses, listeners.ports)])
    # The honest peer registers last.
    world.peer("honest", home.addr, share)
    world.wait_found(home.addr, root, SILENT + 1)
    out = world.dir / "got"
    code, _, took = world.run("get", root, "-o", out, "--super", home.addr, limit=SILENT_LIMIT_S)
    listeners.stop()
    right = code == 0 and root_of(out) == root
    table.add(f"{SILENT} silent addresses before an honest one: get", "", f"exit {code} after {took:.1f} s", "exit 0", right, f"{listeners.connects} connects")


def sizes(world, table, _rounds):
    """One false size beside an honest source, with a dead and with a silent address."""
    for name, size in [("size + 1", SIZE + 1), ("2^60", 1 << 60), ("size 1", 1), ("size 0", 0), ("2^64 - 1", (1 << 64) - 1)]:
        for how in ("dead", "silent"):
            home = world.super("home")
            share = world.dir / "share-sizes"
            share.mkdir(exist_ok=True)
            root = content(share / PATH, SIZE, 3)
            # Several say the false size: a vote would lose.
            addresses = [(f"127.0.0.{n}", 0) for n in (1, 2, 3)]
            listeners = Victim(addresses)
            if how == "dead":
                listeners.stop()
            registrar = register(world, home, [[PATH, size, root]], [[host, port] for (host, _), port in zip(addresses, listeners.ports)])
            peer = world.peer("honest-size", home.addr, share)
            # Not by a search: a size that no content has is no hit for the asker.
            wait_for("all are registered", lambda: world.counts(home.addr)["records"] == 4)
            for what in (root, PATH):
                out = world.dir / "got-size"
                code, _, took = world.run("get", what, "-o", out, "--super", home.addr, limit=60)
                right = code == 0 and out.exists() and root_of(out) == root
                out.unlink(missing_ok=True)
                table.add(f"3 records of {name} at {how} addresses: get {'ROOT' if what == root else 'NAME'}", "", f"exit {code} after {took:.1f} s", "exit 0", right)
            world.end(registrar)
            world.stop(peer, home)
            if how == "silent":
                listeners.stop()


def spellings(world, table, _rounds):
    home = world.super("home")
    listeners = Victim([("127.0.0.1", 0)])
    register(world, home, [[PATH, SIZE, "cd" * 32]], [[host, listeners.ports[0]] for host in SPELLINGS])
    code, _, took = world.run("get", "cd" * 32, "-o", world.dir / "never", "--super", home.addr, limit=60)
    connects = connects_of_get(world, home, listeners)
    listeners.stop()
    table.add(f"one address in {len(SPELLINGS)} spellings: connects", "", connects, "1 to 2", 1 <= connects <= 2,
              f"at most {listeners.most_open} at once; exit {code} after {took:.0f} s")


LINES = {"victim": victim, "silent": silent, "sizes": sizes, "spellings": spellings}
