"""The machine of a run: a network namespace of its own, a folder, daemons of the release binary, and
Python programs beside them. Everything is ended and removed at the end, also after Ctrl-C.

Only processes that a run started are ended, by their ids. Namespaces carry the id of the run.
"""
import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SPRAT = Path(os.environ.get("SPRAT_BIN", ROOT / "target" / "release" / "sprat"))
PYTHON = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sprat-chaos" / "python"
# Memory after an attack or a run: this many times what it was, and these bytes.
RSS_FACTOR, RSS_SPARE = 1.2, 16 << 20
# In front of a command: it is killed if this program is.
WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]
# In front of an attacker: it gets only the processor time that nobody else wants. A stranger has a
# machine of its own; here its program must not take the time of the commands that are measured.
SPARE_TIME = ["chrt", "--idle", "0"]


class Failed(Exception):
    """Something that a run cannot do without."""


# ---- what a run needs ---------------------------------------------------------------------------

def build():
    """The release build, unless SPRAT_BIN names a binary."""
    if "SPRAT_BIN" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)


def need_root():
    if os.geteuid() != 0:
        raise Failed("this needs root: it makes network namespaces (nothing outside of them is touched)")


def need_tools(*wanted):
    """Programs, as (program, Debian package). Missing ones are installed."""
    missing = [package for program, package in wanted if not shutil.which(program)]
    if missing:
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], **quiet)


def need_python(*packages):
    """Python packages, installed in a folder of their own if they are missing."""
    sys.path.append(str(PYTHON))
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    if missing:
        PYTHON.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(PYTHON), *missing], check=True)
        importlib.invalidate_caches()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PYTHON), os.environ.get("PYTHONPATH")]))


def run_quiet(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def version():
    done = subprocess.run([SPRAT, "--version"], capture_output=True, text=True)
    return f"{done.stdout.strip()} ({SPRAT})"


def raise_descriptors():
    import resource
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def isolate():
    """Runs this program again in a network namespace that has only a loopback, and where its mounts
    are seen by nobody else."""
    if os.environ.pop("SPRAT_CHAOS_ISOLATED", None):
        return
    os.environ["SPRAT_CHAOS_ISOLATED"] = "1"
    script = 'ip link set lo up && exec "$@"'
    os.execvp("unshare", ["unshare", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, *sys.argv])


# ---- figures of a process -----------------------------------------------------------------------

def rss_of(pid):
    """Resident bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def open_of(pid):
    """What the descriptors are, as text: by kind, how many."""
    kinds = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kind = os.readlink(link).split(":[")[0]
        except OSError:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def median(values):
    return quantile(values, 0.5)


def wait_for(what, look, limit=60.0, step=0.02):
    """Polls until `look` returns something true, and returns it."""
    until = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"waited {limit:.0f} s in vain: {what}")
        time.sleep(step)


# ---- processes ----------------------------------------------------------------------------------

class Daemon:
    """A super peer or a peer that serves."""

    def __init__(self, name, child, ready, command):
        self.name, self.child, self.command = name, child, command
        self.pid = child.pid
        self.ready = ready
        self.addr = ready["listen"]
        self.control = ready.get("control")

    def is_alive(self):
        return self.child.poll() is None


class World:
    """A folder and the processes of a run."""

    def __init__(self, keep=False):
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 8 << 30 else None
        self.dir = Path(tempfile.mkdtemp(prefix="sprat-chaos-", dir=base))
        self.keep = keep
        self.children = []
        self.mounts = []
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("SPRAT_")} | {"SPRAT_OPEN": "1"}
        for kind in ("STATE", "RUNTIME", "CACHE", "CONFIG"):
            folder = self.dir / kind.lower()
            folder.mkdir(mode=0o700)
            self.env[f"XDG_{kind}_{'DIR' if kind == 'RUNTIME' else 'HOME'}"] = str(folder)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children:
            self.end(child, kill=True)
        for folder in self.mounts:
            subprocess.run(["umount", "--lazy", folder], check=False)
        if self.keep:
            print(f"left: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def spawn(self, command, log=None, **more):
        """A child process; its output goes to a file of the folder, unless `more` says otherwise."""
        output = open(self.dir / f"{log}.log", "ab") if log else subprocess.DEVNULL
        options = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "env": self.env, **more}
        child = subprocess.Popen([str(part) for part in [*WITH_PARENT, *command]], **options)
        if log:
            output.close()
        self.children.append(child)
        return child

    def end(self, child, kill=False):
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)
            child.kill() if kill else child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child in self.children:
            self.children.remove(child)

    def stop(self, *daemons):
        for daemon in daemons:
            self.end(daemon.child)

    def daemon(self, role, name, *arguments, prefix=(), before=None):
        """Starts a daemon and waits until it serves; or does not wait, if `before` is the same daemon
        as it was: its addresses are the same."""
        ready = self.dir / f"{name}.ready"
        ready.unlink(missing_ok=True)
        command = [*prefix, SPRAT, role, "--name", name, "--state", self.dir / f"{name}.state", "--ready-file", ready, "--log-level", "info", *arguments]
        child = self.spawn(command, log=name)
        if before:
            return Daemon(name, child, before.ready, command)

        def is_ready():
            if child.poll() is not None:
                raise Failed(f"{name} ended with {child.returncode}: {self.tail(name)}")
            return ready.exists() and ready.read_text().strip()

        return Daemon(name, child, json.loads(wait_for(f"{name} is ready", is_ready)), command)

    def tail(self, name, lines=5):
        return "\n".join((self.dir / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def super(self, name, *arguments, listen="127.0.0.1:0", **more):
        return self.daemon("super", name, "--listen", listen, *arguments, **more)

    def peer(self, name, home, share, *arguments, listen="127.0.0.1:0", **more):
        return self.daemon("peer", name, "--super", home, "--share", share, "--listen", listen, *arguments, **more)

    def tool(self, module, *arguments, log=None, prefix=(), **more):
        """One of the Python programs of this folder, as a process: it answers in lines of JSON."""
        command = [*prefix, sys.executable, "-m", f"chaoslib.{module}", *arguments]
        return self.spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, cwd=HERE.parent, text=True, **more)

    def attacker(self, module, *arguments):
        """A tool in its spare time."""
        return self.tool(module, *arguments, prefix=SPARE_TIME)

    @contextlib.contextmanager
    def first_processor(self):
        """Yields what is in front of a daemon that has the first processor for itself. Everything else
        shares the others, if there are any."""
        all_of_them = os.sched_getaffinity(0)
        first = min(all_of_them)
        if len(all_of_them) == 1:
            yield []
            return
        os.sched_setaffinity(0, all_of_them - {first})
        try:
            yield ["taskset", "--cpu-list", str(first)]
        finally:
            os.sched_setaffinity(0, all_of_them)

    # ---- commands -------------------------------------------------------------------------------

    def run(self, *arguments, limit=120.0, prefix=()):
        """A one-shot command. Its exit code (124: it took too long), its lines of JSON, its seconds."""
        command = [*prefix, SPRAT, *arguments, "--json", "-q"]
        begun = time.monotonic()
        try:
            done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, env=self.env, timeout=limit)
            code, text = done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            code, text = 124, late.stdout or b""
        took = time.monotonic() - begun
        events = []
        for line in text.decode(errors="replace").splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                pass
        return code, events, took

    def counts(self, home):
        """The counters of a super peer."""
        code, events, _ = self.run("status", "--super", home)
        for event in events:
            if event.get("event") == "status":
                return event["super_counts"]
        raise Failed(f"status of {home} failed with exit {code}")

    def wait_found(self, home, pattern, count=1, limit=60.0):
        def look():
            _, events, _ = self.run("query", pattern, "--super", home)
            return sum(event.get("event") == "hit" for event in events) >= count
        wait_for(f"{count} hits for {pattern} at {home}", look, limit, 0.1)


def ask(tool, line, limit=60.0):
    """Sends one line to a tool and reads its answer."""
    tool.stdin.write(line + "\n")
    tool.stdin.flush()
    return heard(tool)


def heard(tool):
    line = tool.stdout.readline()
    if not line:
        raise Failed("a tool ended")
    return json.loads(line)


def started(tool, least):
    """Waits until an attack has started, and prints its figures. Fails if fewer connections or sessions
    than this are open."""
    figures = heard(tool)
    text = ", ".join(f"{count} {what}" for what, count in figures.items())
    print(f"  the attack: {text}", file=sys.stderr, flush=True)
    if figures["open"] < least:
        raise Failed(f"the attack did not start: {text}, at least {least:.0f} must be open")


def noise(path, size, seed):
    """A file of bytes that do not repeat; the same seed gives the same bytes, and no other."""
    source = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for at in range(0, size, 1 << 20):
            file.write(source.randbytes(min(1 << 20, size - at)))


def content(path, size, seed):
    """The same. Returns its root."""
    noise(path, size, seed)
    return root_of(path)


def root_of(path):
    from blake3 import blake3
    hasher = blake3()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            hasher.update(part)
    return hasher.hexdigest()
