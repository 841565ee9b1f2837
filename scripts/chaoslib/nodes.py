"""Real processes in a folder of their own: a super peer, a source, and what is under test."""
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .world import SPRAT

# Longest wait for anything: it only guards against a hang.
PATIENCE = 30


class Violation(Exception):
    """Something happened that must never happen."""


def check(holds, text):
    if not holds:
        raise Violation(text)


def until(what, look, process=None):
    """Polls until `look` is true. Fails if `process` ends first."""
    start = time.monotonic()
    while not look():
        if process is not None and process.poll() is not None and not look():
            return False
        check(time.monotonic() - start < PATIENCE, f"{what}: not within {PATIENCE} s")
        time.sleep(0.004)
    return True


class World:
    """A folder, an address, a super peer and a source that are never touched by a fault."""

    def __init__(self, files, folder=None):
        self.folder = Path(tempfile.mkdtemp(prefix="sprat-crash-", dir=folder))
        self.ip = f"127.{random.SystemRandom().randrange(2, 255)}.{random.SystemRandom().randrange(256)}.1"
        self.children = []
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("SPRAT_")}
        self.env |= {"HOME": str(self.folder), "TERM": "xterm", "SPRAT_OPEN": "1"}
        for key in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
            self.env.pop(key, None)
        self.source_folder = self.folder / "source"
        self.source_folder.mkdir()
        for name, make in files.items():
            make(self.source_folder / name)
        self.super_addr = self.serve("super", "super", "--listen", f"{self.ip}:0")
        self.serve("source", "peer", "--super", self.super_addr, "--share", self.source_folder, "--listen", f"{self.ip}:0")
        until("the source is registered", lambda: self.listed() == set(files))

    def serve(self, name, *args, env=None):
        ready = self.folder / f"{name}.ready"
        log = open(self.folder / f"{name}.log", "wb")
        child = subprocess.Popen([SPRAT, *args, "--name", name, "--state", self.folder / f"{name}.state",
                                  "--ready-file", ready], env=env or self.env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=log)
        self.children.append(child)
        if not until(f"the {name} is ready", ready.exists, child):
            raise SystemExit(f"the {name} ended: {Path(log.name).read_text()}")
        return json.loads(ready.read_text())["listen"]

    def listed(self):
        ran = subprocess.run([SPRAT, "list", "--json", "--super", self.super_addr], env=self.env, capture_output=True,
                             timeout=PATIENCE, check=False)
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        return {line["path"] for line in lines if line["event"] == "file"}

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def stop(process, sig=signal.SIGTERM):
    """Ends a process and all of its group, whatever state it is in."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, sig)
        except ProcessLookupError:
            pass
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise Violation(f"it did not end within {PATIENCE} s of signal {sig}") from None
