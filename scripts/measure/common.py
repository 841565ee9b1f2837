"""Shared by the measuring scripts: super peers as child processes, on loopback or in network
namespaces; a small session client that needs only Python's standard library; percentiles and
Markdown tables.

Every namespace, process and file belongs to this run: names contain its process id, and nothing
else is ended or removed.
"""
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SPRAT = Path(os.environ.get("SPRAT_BIN", ROOT / "target" / "release" / "sprat"))
PORT = 4777


# SIGTERM ends the processes of the script and removes its namespaces too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


def build():
    """The release build, unless SPRAT_BIN names another."""
    if "SPRAT_BIN" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)


def need_root_and_tools():
    """Namespaces need root, ip and nft. Missing tools are installed if apt-get exists."""
    if os.geteuid() != 0:
        sys.exit("this needs root: it makes network namespaces (nothing outside of them is touched)")
    missing = [package for tool, package in [("ip", "iproute2"), ("nft", "nftables")] if not shutil.which(tool)]
    if missing:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True)


# ---- MessagePack, the part that sessions use --------------------

def pack(value):
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        for limit, head, form in [(1 << 7, b"", ">B"), (1 << 8, b"\xcc", ">B"), (1 << 16, b"\xcd", ">H"), (1 << 32, b"\xce", ">I")]:
            if value < limit:
                return head + struct.pack(form, value)
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xa0 | len(text)]) if len(text) < 32 else b"\xda" + struct.pack(">H", len(text))) + text
    if isinstance(value, bytes):
        return b"\xc5" + struct.pack(">H", len(value)) + value
    if isinstance(value, dict):
        entries = b"".join(pack(key) + pack(entry) for key, entry in value.items())
        return b"\xde" + struct.pack(">H", len(value)) + entries
    if isinstance(value, (list, tuple)):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))
    raise TypeError(value)


def unpack(data, at=0):
    """The value that begins at `at`, and the offset of its end."""
    head = data[at]
    at += 1
    if head < 0x80:
        return head, at
    if head < 0x90:
        return unpack_map(data, at, head & 15)
    if head < 0xa0:
        return unpack_array(data, at, head & 15)
    if head < 0xc0:
        return data[at:at + (head & 31)].decode(), at + (head & 31)
    if head in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[head], at
    numbers = {0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q"}
    if head in numbers:
        size = struct.calcsize(numbers[head])
        return struct.unpack_from(numbers[head], data, at)[0], at + size
    lengths = {0xc4: ">B", 0xc5: ">H", 0xc6: ">I", 0xd9: ">B", 0xda: ">H", 0xdb: ">I", 0xdc: ">H", 0xdd: ">I", 0xde: ">H", 0xdf: ">I"}
    size = struct.calcsize(lengths[head])
    length = struct.unpack_from(lengths[head], data, at)[0]
    at += size
    if head in (0xdc, 0xdd):
        return unpack_array(data, at, length)
    if head in (0xde, 0xdf):
        return unpack_map(data, at, length)
    part = bytes(data[at:at + length])
    return (part if head < 0xd0 else part.decode()), at + length


def unpack_array(data, at, length):
    values = []
    for _ in range(length):
        value, at = unpack(data, at)
        values.append(value)
    return values, at


def unpack_map(data, at, length):
    values = {}
    for _ in range(length):
        key, at = unpack(data, at)
        values[key], at = unpack(data, at)
    return values, at


class Session:
    """A session of a weak peer that searches, and registers records that are never fetched."""

    def __init__(self, host, port=PORT):
        self.sock = socket.create_connection((host, port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.req = 0
        self.send("HELLO", v=[1, 0], node=os.urandom(16), boot=int.from_bytes(os.urandom(8), "big"), agent="measure/1")
        self.send("LOGIN", mode="open")
        self.expect("READY")

    def send(self, kind, **fields):
        body = pack({kind: fields})
        self.sock.sendall(struct.pack(">I", len(body)) + body)

    def receive(self):
        while True:
            if len(self.buffer) >= 4:
                end = 4 + int.from_bytes(self.buffer[:4], "big")
                if len(self.buffer) >= end:
                    ((kind, fields),) = unpack(self.buffer, 4)[0].items()
                    del self.buffer[:end]
                    return kind, fields
            part = self.sock.recv(1 << 16)
            if not part:
                raise ConnectionError("the super peer closed the session")
            self.buffer += part

    def expect(self, wanted):
        while True:
            kind, fields = self.receive()
            if kind == "ERROR":
                raise ConnectionError(f"ERROR {fields}")
            if kind == wanted:
                return fields

    def register(self, names, seq=1, more=False):
        """Registers one page of files with these names. The root is derived from the name."""
        files = [{"p": name, "s": 1, "r": hashlib.sha256(name.encode()).digest()} for name in names]
        self.send("REGISTER", seq=seq, port=4778, files=files, more=more)
        self.expect("ACK")

    def query(self, pattern, kind="words", **more):
        """Sends a query. Returns the hits as (path, addr), the DONE, and the seconds until it arrived."""
        self.req += 1
        start = time.perf_counter()
        self.send("QUERY", req=self.req, find={"q": pattern, "k": kind}, **more)
        hits = []
        while True:
            kind, fields = self.receive()
            if kind == "HIT":
                hits += [(hit["p"], hit["a"]) for hit in fields["hits"]]
            elif kind == "DONE":
                return hits, fields, time.perf_counter() - start
            elif kind == "ERROR":
                raise ConnectionError(f"ERROR {fields}")

    def counts(self):
        self.req += 1
        self.send("STATUS", req=self.req)
        return self.expect("INFO")["counts"]

    def close(self):
        self.sock.close()


# ---- processes --------------------------------------------------

class World:
    """A folder and its super peers, each with its own loopback address or in its own namespace."""

    def __init__(self, namespaces=0):
        self.dir = Path(tempfile.mkdtemp(prefix="sprat-measure-"))
        self.tag = f"sprat{os.getpid()}"
        self.children = {}
        self.spaces = []
        self.links = {}
        try:
            if namespaces:
                self.make_namespaces(namespaces)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in list(self.children.values()):
            child.kill()
            child.wait()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    # A bridge in its own namespace, and one namespace connected to it for each super peer.
    def make_namespaces(self, count):
        hub = f"{self.tag}-hub"
        run("ip", "netns", "add", hub)
        self.spaces.append(hub)
        run("ip", "-n", hub, "link", "add", "name", "switch", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "switch", "up")
        for n in range(count):
            space = self.space(n)
            run("ip", "netns", "add", space)
            self.spaces.append(space)
            run("ip", "-n", hub, "link", "add", "name", f"v{n}", "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "-n", hub, "link", "set", f"v{n}", "master", "switch", "up")
            run("ip", "-n", space, "addr", "add", f"{self.host(n)}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")

    def space(self, n):
        return f"{self.tag}-{n}"

    def host(self, n):
        return f"10.77.0.{n + 1}" if self.spaces else f"127.77.0.{n + 1}"

    def inside(self, n):
        """The command prefix that runs a command in the namespace of super peer `n`."""
        return ["ip", "netns", "exec", self.space(n)] if self.spaces else []

    def start(self, n, neighbors):
        self.links[n] = neighbors
        name = f"s{n}"
        (self.dir / name).mkdir(exist_ok=True)
        ready = self.dir / f"{name}.ready"
        ready.unlink(missing_ok=True)
        command = [*self.inside(n), str(SPRAT), "super", "--listen", f"{self.host(n)}:{PORT}", "--name", name,
                   "--state", str(self.dir / name), "--ready-file", str(ready)]
        for other in neighbors:
            command += ["--neighbor", f"{self.host(other)}:{PORT}"]
        env = {key: value for key, value in os.environ.items() if not key.startswith("SPRAT_")} | {"SPRAT_OPEN": "1"}
        with open(self.dir / f"{name}.log", "ab") as log:
            self.children[n] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        wait_for("the ready file", lambda: ready.exists() or self.is_gone(n))

    def is_gone(self, n):
        if self.children[n].poll() is not None:
            sys.exit(f"super peer {n} ended: {(self.dir / f's{n}.log').read_text()}")
        return False

    def kill(self, n):
        """kill -9 of the super peer itself; `ip netns exec` has replaced itself by it."""
        self.children[n].kill()
        self.children[n].wait()

    def start_all(self, count, links):
        """Super peers whose links are all up."""
        for n in range(count):
            self.start(n, [b if a == n else a for a, b in links if n in (a, b)])
        for n in range(count):
            ask = self.asker(n)
            wait_for("all links are up", lambda: ask("links_up") == len(self.links[n]))
            ask.close()

    def asker(self, n):
        return Asker(self, n)


class Asker:
    """A process in the namespace of super peer `n` that queries it: the `ask` loop of this script."""

    def __init__(self, world, n):
        command = [*world.inside(n), sys.executable, __file__, "ask", world.host(n)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, name, *args, **more):
        self.child.stdin.write(json.dumps([name, args, more]) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise ConnectionError("the asker ended")
        return json.loads(line)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def ask_loop(host):
    """Commands as JSON lines in, answers as JSON lines out."""
    session = None
    for line in sys.stdin:
        name, args, more = json.loads(line)
        try:
            session = session or Session(host)
            if name == "register":
                answer = session.register(args[0])
            elif name == "query":
                hits, done, took = session.query(*args, **more)
                answer = [hits, done, took]
            else:
                answer = session.counts().get(name, 0)
        except (OSError, ConnectionError):
            # The super peer is down or was restarted. The next command opens a new session.
            session, answer = None, None
        print(json.dumps(answer), flush=True)


def run(*command):
    subprocess.run(command, check=True)


def pin(pid, core, first):
    """Gives a process a core; with `first`, real-time priority there (this needs root)."""
    for task in map(int, os.listdir(f"/proc/{pid}/task")):
        os.sched_setaffinity(task, {core})
        os.sched_setscheduler(task, os.SCHED_RR if first else os.SCHED_OTHER, os.sched_param(1 if first else 0))


def wait_for(what, look, limit=30.0, step=0.01):
    """Polls until it is true. Returns the seconds that took."""
    start = time.monotonic()
    while not look():
        if time.monotonic() - start > limit:
            sys.exit(f"waited {limit} s in vain: {what}")
        time.sleep(step)
    return time.monotonic() - start


# ---- figures ----------------------------------------------------

def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def table(head, rows):
    """Prints each row as soon as it is known."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head), flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


def sim(options):
    """The `result` lines of `sprat sim`. Its standard error is passed on."""
    run = subprocess.run([SPRAT, "sim", "--json", *options], stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    if not lines or lines[-1].get("event") != "done" or not lines[:-1]:
        sys.exit(f"sprat sim {' '.join(options)} failed with exit {run.returncode}")
    return lines[:-1]


if __name__ == "__main__" and sys.argv[1:2] == ["ask"]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ask_loop(sys.argv[2])
