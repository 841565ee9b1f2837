"""Shared by the trials with several hosts: each host is a network namespace, all on one bridge.

Every namespace, process and file belongs to this run: names contain its process id, and nothing
else is ended or removed. NETNS_PREFIX in the environment begins the names of the namespaces.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import SPRAT, run

PREFIX = f"{os.environ.get('NETNS_PREFIX', 'sprat')}{os.getpid()}"
LIMIT_S = 10.0


class Failed(Exception):
    """A case does not hold."""


def check(condition, text):
    if not condition:
        raise Failed(text)


class Host:
    """A namespace with its own folders and its own file of names."""

    # Whether its super peers are open, and its peers without a login.
    open = True

    def __init__(self, net, name, *addresses):
        self.net, self.name, self.space = net, name, f"{PREFIX}-{name}"
        self.dir = net.dir / name
        for folder in ("state", "run", "share", "got"):
            (self.dir / folder).mkdir(parents=True)
        self.names = Path("/etc/netns") / self.space
        run("ip", "netns", "add", self.space)
        net.spaces.append(self)
        run("ip", "-n", net.hub, "link", "add", "name", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "-n", net.hub, "link", "set", "dev", f"v-{name}", "master", "switch", "up")
        # Without the search for duplicates an IPv6 address can be used at once.
        for key in ("all", "default", "eth0"):
            self.run("sysctl", "-q", "-w", f"net.ipv6.conf.{key}.accept_dad=0")
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        for address in addresses:
            self.add_address(address)
        self.daemons = {}

    def add_address(self, address):
        run("ip", "-n", self.space, "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))

    def remove_address(self, address):
        run("ip", "-n", self.space, "addr", "del", address, "dev", "eth0")

    def hosts(self, names):
        """The names that this host knows, beside localhost. The file keeps its inode, which is
        mounted in the processes that run."""
        self.names.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{address} {name}" for name, address in names)]
        with open(self.names / "hosts", "w") as file:
            file.write("\n".join(lines) + "\n")
        with open(self.names / "nsswitch.conf", "w") as file:
            file.write("hosts: files\n")

    def run(self, *command):
        run("ip", "netns", "exec", self.space, *command)

    def nft(self, rules):
        subprocess.run(["ip", "netns", "exec", self.space, "nft", "-f", "-"], input=rules, text=True, check=True)

    def env(self):
        env = {key: value for key, value in os.environ.items() if not key.startswith("SPRAT_") and key != "JOURNAL_STREAM"}
        env |= {"SPRAT_OPEN": "1"} if self.open else {}
        return env | {"HOME": str(self.dir), "XDG_STATE_HOME": str(self.dir / "state"), "XDG_RUNTIME_DIR": str(self.dir / "run")}

    def daemon(self, role, *args, name=None, ready=True):
        name = name or role
        file = self.dir / f"{name}.ready"
        file.unlink(missing_ok=True)
        with open(self.dir / f"{name}.log", "ab") as log:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.space, str(SPRAT), role, *map(str, args), "--name", name, "--ready-file", str(file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env(), cwd=self.dir)
        self.daemons[name] = child
        self.net.children.append(child)
        if ready:
            until(f"{self.name}: {name} is ready", lambda: file.exists() or self.is_gone(name))
        return child

    def is_gone(self, name):
        check(self.daemons[name].poll() is None, f"{self.name}: {name} ended: {self.log(name)[-600:]}")
        return False

    def super(self, *args):
        return self.daemon("super", *args)

    def peer(self, *args):
        return self.daemon("peer", "--share", self.dir / "share", *args)

    def log(self, name):
        path = self.dir / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def sprat(self, *args, limit=60, given=None):
        return subprocess.run(["ip", "netns", "exec", self.space, str(SPRAT), *map(str, args)], env=self.env(), cwd=self.dir / "got",
                              input=given, capture_output=True, text=True, timeout=limit, check=False)

    def start(self, command, *args):
        """Starts a command whose output goes to a log of its name."""
        with open(self.dir / f"{command}.log", "wb") as log:
            child = subprocess.Popen(["ip", "netns", "exec", self.space, str(SPRAT), command, *map(str, args)],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env(), cwd=self.dir / "got")
        self.net.children.append(child)
        return child

    def json(self, *args):
        return [json.loads(line) for line in self.sprat(*args, "--json").stdout.splitlines()]

    def status(self, *args):
        return self.sprat("status", *args).stdout

    def put(self, name, size=100_000):
        content = os.urandom(size)
        (self.dir / "share" / name).write_bytes(content)
        return content

    def gets(self, name, content, *args, limit=LIMIT_S):
        """Downloads the file within the limit: its content is right."""
        start = time.monotonic()
        while True:
            (self.dir / "got" / name).unlink(missing_ok=True)
            ran = self.sprat("get", name, "-o", self.dir / "got" / name, *args)
            if ran.returncode == 0:
                check((self.dir / "got" / name).read_bytes() == content, f"{name}: another content")
                return time.monotonic() - start
            if time.monotonic() - start > limit:
                raise Failed(f"{self.name} gets no {name}: exit {ran.returncode}: {ran.stderr.strip()[-400:]}")
            time.sleep(0.2)


class Hosts:
    """The bridge and the hosts on it."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="sprat-hosts-"))
        self.hub, self.spaces, self.children = f"{PREFIX}-hub", [], []

    def __enter__(self):
        run("ip", "netns", "add", self.hub)
        run("ip", "-n", self.hub, "link", "add", "name", "switch", "type", "bridge")
        run("ip", "-n", self.hub, "link", "set", "switch", "up")
        return self

    def host(self, name, *addresses):
        return Host(self, name, *addresses)

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
            child.wait()
        for host in self.spaces:
            subprocess.run(["ip", "netns", "del", host.space], stderr=subprocess.DEVNULL, check=False)
            shutil.rmtree(host.names, ignore_errors=True)
        subprocess.run(["ip", "netns", "del", self.hub], stderr=subprocess.DEVNULL, check=False)
        if os.environ.get("KEEP"):
            print(f"kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def until(what, look, limit=LIMIT_S):
    """Polls until it is true. Returns the seconds that took."""
    start = time.monotonic()
    while not look():
        if time.monotonic() - start > limit:
            raise Failed(f"not within {limit:.0f} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - start


def shows(what, texts, *words, limit=LIMIT_S):
    """Waits until one of these texts has a line with all words. Returns the line."""
    found = []

    def look():
        for text in texts():
            found.extend(line for line in text.splitlines() if all(word in line for word in words))
        return bool(found)

    try:
        until(what, look, limit)
    except Failed as failed:
        shown = "\n".join(text.strip()[-600:] for text in texts())
        raise Failed(f"{failed}: no line with {words} in:\n{shown}") from None
    return found[0].strip()


def run_cases(cases, chosen):
    """Runs the cases, each on hosts of its own. Exits 1 if one fails."""
    failed = 0
    for case in cases:
        name = case.__name__
        if chosen and name not in chosen:
            continue
        try:
            with Hosts() as net:
                verdict, text = "PASS", case(net)
        except (Failed, OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
            verdict, text = "FAIL", str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            failed += 1
        print(f"{verdict} {name}: {case.__doc__}: {text}", flush=True)
    sys.exit(failed > 0)
