"""Every command that writes files, one entry for each. All of scripts/chaos crash follows from this
table: a new writer is one more entry of `WRITERS`.

An entry knows how to lay out the folder before the command (`prepare`), how to run the command and
see it through (`run`), and what must hold: after a run with a fault (`judge_first`), after the same
command again (`judge_last`), and on the disk once a run has ended (`judge_durable`).
"""
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios
import threading
from dataclasses import dataclass, field
from pathlib import Path

from .nodes import PATIENCE, check, stop, until
from .world import SPRAT, noise

MIB = 1 << 20
BIG = 3 * MIB + 154_321

# What the source shares.
FILES = {
    "big.bin": lambda path: noise(path, BIG, 1),
    "two.bin": lambda path: noise(path, 2 * MIB, 2),
    "small.bin": lambda path: noise(path, 50_000, 3),
    "empty.bin": lambda path: path.write_bytes(b""),
}

# Exit codes that a failing disk may give. 0: it did not matter.
DISK_EXITS = (0, 9)


@dataclass
class Case:
    """The folders of one run. They are the same in every run, so that paths are."""
    world: object
    folder: Path
    template: Path

    def __post_init__(self):
        self.out, self.home, self.share, self.run = (self.folder / name for name in ("out", "home", "share", "run"))
        # Below a folder that is there, because the name of a new state folder is synced too.
        self.state = self.home / "state"
        self.ready, self.control = self.run / "ready", self.run / "sock"

    def reset(self):
        """The folder as the writer prepared it. Files of the share that are still there are kept: their
        inodes are in the digest cache."""
        for name in ("out", "home", "run"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            if (self.template / name).exists():
                shutil.copytree(self.template / name, self.folder / name, symlinks=True)
        kept = self.template / "share.list"
        names = set(json.loads(kept.read_text())) if kept.exists() else set()
        self.share.mkdir(exist_ok=True)
        for path in self.share.iterdir():
            if path.name not in names:
                path.unlink()

    def keep(self):
        """Makes what is in the folder now the start of every run."""
        shutil.rmtree(self.template, ignore_errors=True)
        self.template.mkdir()
        for name in ("out", "home", "run"):
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, self.template / name)
        (self.template / "share.list").write_text(json.dumps(sorted(path.name for path in self.share.iterdir())))

    def inside(self):
        return [self.out, self.home, self.share, self.run]


@dataclass
class Result:
    """How a run ended."""
    exit: int
    events: list = field(default_factory=list)
    text: str = ""
    ready: bool = False
    # Bytes of files that were hashed, at least.
    read: int = 0
    # Exit codes of what was asked of a daemon, in order.
    asked: list = field(default_factory=list)

    def event(self, name):
        return [event for event in self.events if event["event"] == name]

    def resumed(self):
        return next((event["resumed"] for event in self.event("start") + self.event("done") if "resumed" in event), 0)


def events_of(stdout):
    events = []
    for line in stdout.splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            # The last line of a process that was killed.
            pass
    return events


def listing(folder):
    if not folder.exists():
        return set()
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def judge_text(result):
    """No panic, and a failure says why in a sentence of ours."""
    check("panicked at" not in result.text, f"it panicked: {result.text[-600:]}")
    if result.exit > 0:
        # Without the codes with which the prompt moves the cursor.
        plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", result.text)
        check(re.search(r"^(<\d>)?(sprat|error): \S", plain, re.M) or result.event("done"),
              f"exit {result.exit} without a sentence: {result.text[-300:]!r}")


def listed_pieces(folder, name, truth):
    """The pieces of a part file that are right and listed in its map: they must never be fetched
    again. Reads the format of src/disk/part_map.rs and believes its checks."""
    part, map_file = folder / f".{name}.part", folder / f".{name}.part.map"
    if part.exists() and not map_file.exists() and 0 < len(truth) <= MIB:
        # A content of one piece needs no map.
        return {0} if part.read_bytes() == truth else set()
    if not part.exists() or not map_file.exists():
        return set()
    data, log = part.read_bytes(), map_file.read_bytes()
    if log[:16] != b"sprat part map 1" or len(log) < 64:
        return set()
    at, listed, manifest = 64, set(), len(truth) <= MIB
    while at < len(log):
        if log[at:at + 1] == b"M" and len(log) >= at + 5:
            end = at + 5 + 32 * struct.unpack_from("<I", log, at + 1)[0] + 8
            manifest |= end <= len(log)
        elif log[at:at + 1] == b"P" and len(log) >= at + 13:
            end = at + 13
            listed.add(struct.unpack_from("<I", log, at + 1)[0])
        elif log[at:at + 1] == b"E" and len(log) >= at + 5:
            end = at + 5 + sum(struct.unpack_from("<HH", log, at + 1)) + 8
        else:
            break
        at = end
    if not manifest:
        return set()
    return {n for n in listed if data[n * MIB:(n + 1) * MIB] == truth[n * MIB:(n + 1) * MIB]}


def piece_bytes(pieces, size):
    return sum(min(MIB, size - n * MIB) for n in pieces)


class Get:
    """`sprat get` of one file into a folder."""

    # A file that it publishes must be on the disk before its name is.
    syncs = True
    # Exit codes with which it may report an error of the disk.
    disk_exits = DISK_EXITS

    def __init__(self, name, file, before=None, exit=0, always=None, only=None):
        self.name, self.file, self.before, self.exit = name, file, before, exit
        # A fault that is there in every run, and the calls to which the points are then limited.
        self.always, self.only = always, only

    def prepare(self, case):
        case.out.mkdir(parents=True, exist_ok=True)
        case.share.mkdir(exist_ok=True)
        if self.before:
            self.before(self, case)

    def argv(self, case):
        return [SPRAT, "get", self.file, "-o", case.out, "--super", case.world.super_addr, "--json"]

    def truth(self, case):
        return (case.world.source_folder / self.file).read_bytes()

    def run(self, case, wrap=list, fault=False):
        process = subprocess.Popen(list(map(str, wrap(self.argv(case)))), env=case.world.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            check(False, f"it hangs: {err[-300:]}")
        return Result(process.returncode, events_of(out), err)

    def at_destination(self, case):
        """Nothing wrong is under the final name."""
        path = case.out / self.file
        if self.exit == 9:
            check(path.read_bytes() == b"mine", "the user's file was touched")
        elif path.exists():
            check(path.read_bytes() == self.truth(case), f"{self.file} is wrong: {path.stat().st_size} bytes")

    def must_fail(self, point):
        """Whether an error of this call must be reported: nothing is published that is not synced."""
        return point.call in ("fsync", "fdatasync") and point.path.endswith(".part")

    def judge_durable(self, case):
        """A download that has ended is on the disk."""
        check((case.out / self.file).exists(), f"{self.file} was downloaded, and a power cut lost it")
        self.at_destination(case)

    def memory(self, case):
        """What is on disk and must not be fetched again."""
        if self.exit == 9 or (case.out / self.file).exists():
            return None
        return listed_pieces(case.out, self.file, self.truth(case))

    def judge_first(self, case, first, before):
        self.at_destination(case)
        now = self.memory(case)
        if now is None:
            return
        check(before is None or before <= now, f"pieces that were there are lost: {before} became {now}")
        reported = {event["index"] for event in first.event("piece")}
        check(reported <= now, f"pieces were reported as verified that are not on disk: {reported} and {now}")

    def judge_last(self, case, last, before):
        self.at_destination(case)
        check(last.exit == self.exit, f"exit {last.exit} instead of {self.exit}: {last.text[-300:]}")
        check(listing(case.out) == {self.file}, f"left over: {listing(case.out)}")
        if before:
            size = len(self.truth(case))
            fetched = {event["index"] for event in last.event("piece")}
            check(last.resumed() >= piece_bytes(before, size), f"resumed {last.resumed()} with {sorted(before)} on disk")
            check(not before & fetched, f"verified pieces were fetched again: {sorted(before & fetched)}")


def partly(writer, case):
    """An earlier run was killed after two pieces."""
    from . import trace
    part = case.out / f".{writer.file}.part"
    wrap = lambda argv: trace.command(case.folder / "log", argv, "pwrite64:signal=SIGKILL:when=3", part, ("pwrite64",))
    result = writer.run(case, wrap)
    check(result.exit == -9 and len(writer.memory(case)) == 2, f"no part file to resume: {result.exit}, {writer.memory(case)}")


def complete(writer, case):
    """The destination has the content already; an earlier run left its map."""
    (case.out / writer.file).write_bytes(writer.truth(case))
    (case.out / f".{writer.file}.part.map").write_bytes(b"sprat part map 1")


def taken(writer, case):
    (case.out / writer.file).write_bytes(b"mine")


def foreign(writer, case):
    """A part file and a map of another content lie there."""
    (case.out / f".{writer.file}.part").write_bytes(b"x" * (5 * MIB))
    (case.out / f".{writer.file}.part.map").write_bytes(b"sprat part map 1" + bytes(100))


# The folder that becomes a collection: fewer files than one sync is for, and one of several pieces.
ALBUM = {"one": 30_000, "empty": 0, "sub/two": 40_000, "sub/below/three": 1, "sub/big": MIB + 70_001}


class GetCollection(Get):
    """`sprat get` of a collection: its list, small files in a batch, and a file of several pieces."""

    # Files that could not be placed are missing, and named.
    disk_exits = (*DISK_EXITS, 8)

    def __init__(self, name, before=None):
        super().__init__(name, "album", before)

    def prepare(self, case):
        world = case.world
        if not (world.source_folder / self.file).exists():
            for seed, (name, size) in enumerate(ALBUM.items()):
                noise(world.source_folder / self.file / name, size, 30 + seed)
            paths = {f"{self.file}/{name}" for name in ALBUM}
            until("the album is registered", lambda: paths <= world.listed())
            control = json.loads((world.folder / "source.ready").read_text())["control"]
            made = subprocess.run([SPRAT, "uri", world.source_folder / self.file, "--control", control, "--json"],
                                  env=world.env, capture_output=True, text=True, timeout=PATIENCE, check=False)
            check(made.returncode == 0, f"no collection: {made.stderr}")
            until("the collection is registered", lambda: self.file in world.listed())
        super().prepare(case)

    def truth(self, case):
        return {name: (case.world.source_folder / self.file / name).read_bytes() for name in ALBUM}

    def at_destination(self, case):
        folder = case.out / self.file
        for name in listing(folder):
            if not any(part.startswith(".") for part in Path(name).parts):
                check(name in ALBUM, f"{name} is no file of the collection")
                check((folder / name).read_bytes() == self.truth(case)[name], f"{name} is wrong")

    def must_fail(self, point):
        return point.call in ("fsync", "fdatasync") and point.path.endswith(".part")

    def judge_durable(self, case):
        lost = set(ALBUM) - listing(case.out / self.file)
        check(not lost, f"{sorted(lost)} were downloaded, and a power cut lost them")
        self.at_destination(case)

    def memory(self, case):
        """Files that are there: they must not be fetched again."""
        return {name for name in ALBUM if (case.out / self.file / name).exists()}

    def judge_first(self, case, first, before):
        self.at_destination(case)
        now = self.memory(case)
        check(before <= now, f"files that were there are lost: {before - now}")

    def judge_last(self, case, last, before):
        self.at_destination(case)
        check(last.exit == 0, f"exit {last.exit}: {last.text[-300:]}")
        left = listing(case.out) ^ {f"{self.file}/{name}" for name in ALBUM}
        check(not left, f"left over or missing: {left}")
        # Its `start` comes before the disk has looked.
        resumed, there = last.event("done")[0]["resumed"], sum(ALBUM[name] for name in before)
        check(resumed >= there, f"resumed {resumed}, and {there} bytes were there")
        # An empty folder would not be in the listing.
        check(not [path for path in case.out.rglob(".sprat-*")], "the hidden folder is left")


class GetFolder(GetCollection):
    """`sprat get` of a folder by its path: small files in a batch, and a file of several pieces."""

    def argv(self, case):
        return [SPRAT, "get", f"{self.file}/", "-o", case.out, "--super", case.world.super_addr, "--json"]


def half(writer, case):
    """An earlier run was killed at its second rename."""
    from . import trace
    wrap = lambda argv: trace.command(case.folder / "log", argv, "renameat2:signal=SIGKILL:when=2", None, ("renameat2",))
    result = writer.run(case, wrap)
    check(result.exit == -9 and len(writer.memory(case)) < len(ALBUM), f"it was not killed: {result.exit}")


class Daemon:
    """A daemon: it starts, serves, does what it is asked, and ends by SIGTERM."""

    syncs = False
    always = only = None
    disk_exits = DISK_EXITS
    shared = {"a.bin": (MIB + 5, 11), "b.bin": (40_000, 12), "c.bin": (0, 13)}

    def __init__(self, name, before=None, gets=None, state=("digests",)):
        self.name, self.before, self.gets = name, before, gets
        self.files = {"lock", "turn", "identity", *state, *(["downloads.jsonl"] if gets else [])}
        self.exit = 0

    def prepare(self, case):
        for folder in (case.share, case.run, case.home):
            folder.mkdir(parents=True, exist_ok=True)
        for name, (size, seed) in self.shared.items():
            noise(case.share / name, size, seed)
        if self.before:
            self.before(self, case)

    def argv(self, case):
        return [SPRAT, "peer", "--super", case.world.super_addr, "--share", case.share, "--listen", f"{case.world.ip}:0",
                "--state", case.state, "--control", case.control, "--ready-file", case.ready]

    def popen(self, argv, case, log):
        return subprocess.Popen(argv, env=case.world.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                start_new_session=True)

    def run(self, case, wrap=list, fault=False):
        log_path = case.folder / "daemon.log"
        result = Result(0)
        with open(log_path, "wb") as log:
            process = self.popen(list(map(str, wrap(self.argv(case)))), case, log)
            try:
                result.ready = until(f"{self.name} serves", lambda: self.serves(case), process)
                if result.ready:
                    pid = json.loads(case.ready.read_text())["pid"]
                    self.use(case, process, result, fault)
                    if process.poll() is None:
                        result.read = hashed_bytes(pid)
                        try:
                            os.kill(pid, signal.SIGTERM)
                        except ProcessLookupError:
                            pass
                result.exit = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                check(False, f"{self.name} does not end: {log_path.read_text()[-300:]}")
            finally:
                if process.poll() is None:
                    stop(process, signal.SIGKILL)
        result.text = log_path.read_text(errors="replace")
        return result

    def serves(self, case):
        """Its ready file is there, and not one that a killed process or a power cut left."""
        try:
            return Path(f"/proc/{json.loads(case.ready.read_text())['pid']}").exists()
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    def ask(self, case, *args):
        ran = subprocess.run([str(SPRAT), *args, "--json", "--control", str(case.control)], env=case.world.env,
                             capture_output=True, text=True, timeout=PATIENCE, check=False)
        return Result(ran.returncode, events_of(ran.stdout), ran.stderr)

    def offered(self, case):
        status = self.ask(case, "status")
        figures = next(iter(status.event("status")), {})
        return figures.get("peer", figures).get("files", -1)

    def use(self, case, process, result, fault):
        """What is done while it serves. Ends early if it dies."""
        want = len([path for path in case.share.iterdir() if not path.name.startswith(".")])
        if not until("the share is offered", lambda: self.offered(case) == want, process):
            return
        if not self.gets:
            return
        for _ in range(2 if fault else 1):
            asked = self.ask(case, "get", self.gets)
            result.asked.append(asked.exit)
            result.events = asked.events
            judge_text(Result(asked.exit, asked.events, asked.text))
        # A process that was killed is seen to have ended a little later.
        answers = lambda: process.poll() is not None or self.ask(case, "status").exit == 0
        until("the daemon answers", answers)

    def must_fail(self, point):
        return False

    def judge_durable(self, case):
        """The node keeps its id, and what was downloaded is on the disk."""
        check((case.state / "identity").exists(), "a power cut lost the key")
        if self.gets:
            check((case.share / self.gets).exists(), f"{self.gets} was downloaded, and a power cut lost it")

    def memory(self, case):
        """Bytes of the share whose digests are not on disk: at most these may be hashed again."""
        known = digests_of(case.state / "digests")
        return sum(stat.st_size for stat in (path.stat() for path in case.share.iterdir())
                   if (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) not in known)

    def at_destination(self, case):
        if self.gets and (case.share / self.gets).exists():
            truth = (case.world.source_folder / self.gets).read_bytes()
            check((case.share / self.gets).read_bytes() == truth, f"{self.gets} is wrong")

    def judge_first(self, case, first, before):
        self.at_destination(case)
        if first.exit == -signal.SIGKILL:
            return
        check(not first.ready or first.exit == 0, f"the daemon died after it served: exit {first.exit}: {first.text[-300:]}")
        for code in first.asked[:1]:
            check(code in DISK_EXITS, f"the download failed with exit {code}")
        # strace counts the calls of each thread, and each save of the queue has its own: it may fail again.
        check(set(first.asked[1:]) <= set(DISK_EXITS), f"the same download failed with {first.asked}")

    def judge_last(self, case, last, before):
        self.at_destination(case)
        check(last.ready and last.exit == 0, f"it does not start again: exit {last.exit}: {last.text[-300:]}")
        check(set(last.asked) <= {0}, f"asked again: {last.asked}: {last.events[-1:]}")
        check(listing(case.state) <= self.files, f"left over in the state: {listing(case.state) - self.files}")
        check({"lock", "identity"} <= listing(case.state), f"missing in the state: {listing(case.state)}")
        check(
            re.fullmatch(r"sprat identity 1\nsecret [a-z2-7]{52}\n", (case.state / "identity").read_text()),
            "the key is damaged",
        )
        check(not listing(case.run), f"left over: {listing(case.run)}")
        share = set(self.shared) | ({self.gets} if self.gets else set())
        check(listing(case.share) == share, f"left over in the share: {listing(case.share) ^ share}")
        for name, (size, _) in self.shared.items():
            check((case.share / name).stat().st_size == size, f"{name} of the share was touched")
        # The programs, the digest cache and the download itself are read too.
        slack = 400_000 + (8 * MIB if self.gets else 0)
        check(last.read <= before + slack, f"{last.read} bytes were read, {before} had no digest on disk")


def hashed_bytes(pid):
    try:
        return int(re.search(r"^rchar: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.M)[1])
    except (OSError, TypeError):
        return 0


def digests_of(path):
    """The file states in a digest cache. Reads the format of src/disk/cache/digest_log.rs."""
    known = set()
    data = path.read_bytes() if path.exists() else b""
    at = 16
    while data.startswith(b"sprat digests 1\n") and at + 84 <= len(data):
        count, *stamp = struct.unpack_from("<I3Q2q", data, at)
        at += 76 + 32 * count + 8
        if at > len(data) or not any(stamp):
            break
        known.add(tuple(stamp))
    return known


def settled(writer, case):
    """An earlier run hashed the share and ended."""
    result = writer.run(case)
    check(result.exit == 0, f"the state cannot be prepared: {result.text}")


def garbage(writer, case):
    """The digest cache is full of files that are gone, so that it is written again."""
    many = [case.share / f"gone{n}" for n in range(4200)]
    for path in many:
        path.write_bytes(b"x")
    settled(writer, case)
    for path in many:
        path.unlink()


class Queue(Daemon):
    """A peer with several downloads, which it keeps in its state."""

    names = ("big.bin", "two.bin", "small.bin")

    def __init__(self, name, before=None):
        super().__init__(name, before, gets=self.names[0])

    def use(self, case, process, result, fault):
        """All at once. What fails is ordered once more."""
        def order(name):
            for _ in range(2 if fault else 1):
                asked = self.ask(case, "get", name)
                judge_text(Result(asked.exit, asked.events, asked.text))
                result.events += [{**event, "of": name} for event in asked.event("download")]
                if asked.exit == 0:
                    return
            result.asked.append(asked.exit)

        threads = [threading.Thread(target=order, args=(name,)) for name in self.names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def queue(self, case):
        """What the file of the queue names, in order. It is never damaged."""
        path = case.state / "downloads.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else [{"v": 1}]
        check(lines and lines[0]["v"] == 1, f"the queue is damaged: {lines}")
        return [line["get"]["what"] for line in lines[1:]]

    def at_destination(self, case):
        for name in self.names:
            if (case.share / name).exists():
                truth = (case.world.source_folder / name).read_bytes()
                check((case.share / name).read_bytes() == truth, f"{name} is wrong")

    def judge_first(self, case, first, before):
        self.at_destination(case)
        accepted, kept = {event["of"] for event in first.events}, self.queue(case)
        check(accepted <= set(kept) and len(set(kept)) == len(kept), f"{accepted} were accepted, and {kept} are in the queue")
        if first.exit != -signal.SIGKILL:
            check(not first.ready or first.exit == 0, f"the daemon died after it served: {first.exit}: {first.text[-300:]}")
            # strace counts the calls of each thread, and each save has its own: it may fail again.
            check(set(first.asked) <= set(DISK_EXITS), f"downloads failed with {first.asked}")

    def judge_last(self, case, last, before):
        self.at_destination(case)
        check(last.ready and last.exit == 0, f"it does not start again: exit {last.exit}: {last.text[-300:]}")
        check(set(last.asked) <= {0}, f"asked again: {last.asked}")
        check(set(self.queue(case)) == set(self.names), f"the queue is {self.queue(case)}")
        check(listing(case.state) <= self.files, f"left over in the state: {listing(case.state) - self.files}")
        share = set(self.shared) | set(self.names)
        check(listing(case.share) == share, f"left over in the share: {listing(case.share) ^ share}")

    def judge_durable(self, case):
        super().judge_durable(case)
        self.at_destination(case)
        check(set(self.queue(case)) == set(self.names), f"a power cut lost what was queued: {self.queue(case)}")


class MakeCollection(Daemon):
    """A peer that makes a collection of its share, keeps it in its state, and serves it."""

    def use(self, case, process, result, fault):
        want = len([path for path in case.share.iterdir() if not path.name.startswith(".")])
        # A later start also offers the collection of the earlier one.
        if not until("the share is offered", lambda: self.offered(case) >= want, process):
            return
        for _ in range(2 if fault else 1):
            asked = self.ask(case, "uri", str(case.share))
            judge_text(Result(asked.exit, asked.events, asked.text))
            result.asked.append(asked.exit)
            result.events += asked.event("uri")
        if process.poll() is None and result.event("uri"):
            self.fetch(case, result.event("uri")[-1]["uri"])

    def fetch(self, case, uri):
        """Another peer gets it by its URI alone."""
        there = case.folder / "fetched"
        ran = subprocess.run([SPRAT, "get", uri, "-o", there, "-q"], env=case.world.env, capture_output=True, text=True,
                             timeout=PATIENCE, check=False)
        check(ran.returncode == 0, f"the URI that was printed is of no use: exit {ran.returncode}: {ran.stderr[-300:]}")
        for name in self.shared:
            check((there / case.share.name / name).read_bytes() == (case.share / name).read_bytes(), f"{name} is wrong")
        shutil.rmtree(there)

    def kept(self, case):
        """The roots in its list whose file has the right size."""
        path = case.state / "collections" / "list.jsonl"
        if not path.exists():
            return set()
        lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
        size = lambda line: (path.parent / line["root"]).stat().st_size if (path.parent / line["root"]).exists() else -1
        return {line["root"] for line in lines if size(line) == line["size"]}

    def judge_first(self, case, first, before):
        super().judge_first(case, first, before)
        lost = {event["root"] for event in first.event("uri")} - self.kept(case)
        check(not lost, f"a URI was printed, and its collection is not kept: {lost}")

    def judge_last(self, case, last, before):
        made = {event["root"] for event in last.event("uri")}
        check(made and made <= self.kept(case), f"{made} are made, {self.kept(case)} are kept")
        self.files = {"lock", "turn", "identity", "digests", "collections/list.jsonl", *(f"collections/{root}" for root in made)}
        # The other peer read all of it.
        super().judge_last(case, last, before + 4 * MIB)

    def judge_durable(self, case):
        super().judge_durable(case)
        check(self.kept(case), "a collection was made, and a power cut lost it")


class Compact(Daemon):
    """The digest cache is written again."""

    def use(self, case, process, result, fault):
        super().use(case, process, result, fault)
        deadline = threading.Event()
        timer = threading.Timer(0.5, deadline.set)
        timer.start()
        until("the digest cache is small", lambda: deadline.is_set() or (case.state / "digests").stat().st_size < 10_000,
              process)
        timer.cancel()


class SuperPeer(Daemon):
    """A super peer: its state has no digests."""

    shared = {}

    def argv(self, case):
        return [SPRAT, "super", "--listen", f"{case.world.ip}:0", "--state", case.state, "--ready-file", case.ready]

    def use(self, case, process, result, fault):
        pass


class Prompt(Daemon):
    """A peer with a terminal, whose prompt keeps a history."""

    lines = ["LIST", "STATUS", "EXIT"]
    earlier = ["LIST early", "FIND early"]

    def prepare(self, case):
        super().prepare(case)
        case.state.mkdir(exist_ok=True)
        (case.state / "history").write_text("#V2\n" + "".join(f"{line}\n" for line in self.earlier))

    def popen(self, argv, case, log):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def own_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(argv, env=case.world.env, stdin=theirs, stdout=theirs, stderr=theirs,
                                   preexec_fn=own_terminal)
        os.close(theirs)
        self.seen, self.typed = bytearray(), 0
        log_path = log.name

        def watch():
            with open(log_path, "ab") as copy:
                while True:
                    try:
                        data = os.read(ours, 4096)
                    except OSError:
                        data = b""
                    if not data:
                        os.close(ours)
                        return
                    copy.write(data)
                    copy.flush()
                    self.seen += data
                    if b"sprat> " in self.seen and self.typed < len(self.lines):
                        self.seen.clear()
                        line = self.lines[self.typed]
                        self.typed += 1
                        os.write(ours, line.encode() + b"\r")

        self.watcher = threading.Thread(target=watch, daemon=True)
        self.watcher.start()
        return process

    def use(self, case, process, result, fault):
        until("the prompt ends the peer", lambda: process.poll() is not None, process)

    def run(self, case, wrap=list, fault=False):
        result = super().run(case, wrap, fault)
        self.watcher.join(PATIENCE)
        result.text = (case.folder / "daemon.log").read_text(errors="replace").replace("\r", "")
        return result

    def judge_first(self, case, first, before):
        super().judge_first(case, first, before)
        self.judge_history(case, self.earlier)

    def judge_last(self, case, last, before):
        super().judge_last(case, last, before)
        self.judge_history(case, [*self.earlier, *self.lines])

    def judge_durable(self, case):
        super().judge_durable(case)
        self.judge_history(case, [*self.earlier, *self.lines])

    def judge_history(self, case, lines):
        """Nothing of the history is lost or damaged."""
        text = (case.state / "history").read_text().splitlines()
        check(text[:1] == ["#V2"] and set(lines) <= set(text), f"the history is damaged: {text}")


class Users(Get):
    """`sprat user add` at a super peer that is stopped: the accounts are changed completely or not at
    all, and the users before it stay."""

    syncs = True

    def __init__(self, name, before=None):
        self.name, self.before, self.exit = name, before, 0
        self.always = self.only = None
        self.first = before is None

    def prepare(self, case):
        case.home.mkdir(parents=True, exist_ok=True)
        case.share.mkdir(exist_ok=True)
        if self.before:
            self.before(self, case)

    def argv(self, case):
        return [SPRAT, "user", "add", "bob", "--at", f"{case.world.ip}:4777", "--state", case.state, "--json"]

    def users(self, case):
        """The names in the accounts; none if there is no such file."""
        try:
            return set(json.loads((case.state / "accounts").read_text())["users"])
        except FileNotFoundError:
            return set()
        except (json.JSONDecodeError, KeyError) as why:
            check(False, f"the accounts are damaged: {why}")

    def at_destination(self, case):
        users = self.users(case)
        check(users <= {"ann", "bob"}, f"users that were not added: {users}")
        check(self.first or "ann" in users, f"a user is lost: {users}")

    def must_fail(self, point):
        """Nothing gets its name that is not synced."""
        return point.call in ("fsync", "fdatasync") and point.path.endswith(".new")

    def judge_durable(self, case):
        check("bob" in self.users(case), "an invitation was printed, and a power cut lost its user")
        self.at_destination(case)

    def memory(self, case):
        return self.users(case)

    def judge_first(self, case, first, before):
        self.at_destination(case)
        check(before <= self.users(case), f"users are lost: {before} became {self.users(case)}")
        check(first.exit != 0 or "bob" in self.users(case), "an invitation was printed, and its user is not there")

    def judge_last(self, case, last, before):
        self.at_destination(case)
        check(last.exit == 0, f"exit {last.exit}: {last.text[-300:]}")
        check(self.users(case) == {"bob"} | (set() if self.first else {"ann"}), f"users: {self.users(case)}")
        check(listing(case.state) <= {"lock", "turn", "identity", "accounts"}, f"left over: {listing(case.state)}")
        check(((case.state / "accounts").stat().st_mode & 0o777) == 0o600, "others can read the accounts")


class Join(Get):
    """`sprat join`: a peer joins a network with an invitation. After any moment of death the same text
    lets it in, because its key is on the disk before the text is used."""

    syncs = False

    def __init__(self, name):
        self.name, self.exit = name, 0
        self.before = self.always = self.only = None

    def prepare(self, case):
        case.home.mkdir(parents=True, exist_ok=True)
        case.share.mkdir(exist_ok=True)
        self.network = case.world.folder / "login.state"
        self.env = {key: value for key, value in case.world.env.items() if key != "SPRAT_OPEN"}
        self.invited, self.is_again = 0, False
        self.address = f"{case.world.ip}:0"
        self.invite(case)
        self.address = case.world.serve("login", "super", "--listen", self.address, env=self.env)

    def invite(self, case):
        """Writes an invitation of one more user into the file that is read by `sprat join`."""
        self.invited += 1
        ran = subprocess.run([SPRAT, "user", "add", f"u{self.invited}", "--at", self.address, "--name", "login",
                              "--state", self.network],
                             env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False)
        check(ran.returncode == 0, f"no user was added: {ran.stderr}")
        (case.folder / "invitation").write_text(ran.stdout)

    def argv(self, case):
        return [SPRAT, "join", case.folder / "invitation", "--state", case.state, "--json"]

    def run(self, case, wrap=list, fault=False):
        # After a fault the same text again, and otherwise a new one.
        if not self.is_again:
            self.invite(case)
        self.is_again = fault
        return super().run(case, wrap, fault)

    def must_fail(self, point):
        """Nothing gets its name that is not synced."""
        return point.call in ("fsync", "fdatasync") and point.path.endswith(".new")

    def at_destination(self, case):
        joined = case.state / "joined"
        check(not joined.exists() or (case.state / "identity").exists(), "it has joined, and its key is lost")

    def judge_durable(self, case):
        self.at_destination(case)
        check((case.state / "joined").exists(), "it has joined, and a power cut lost that")

    def memory(self, case):
        identity = case.state / "identity"
        return identity.read_text() if identity.exists() else None

    def judge_first(self, case, first, before):
        self.at_destination(case)
        check(before in (None, self.memory(case)), "the key is another one")

    def judge_last(self, case, last, before):
        self.at_destination(case)
        check(last.exit == 0, f"exit {last.exit}: {last.text[-300:]}")
        check(before in (None, self.memory(case)), "the key is another one")
        check(listing(case.state) == {"lock", "turn", "identity", "joined"}, f"in the state: {listing(case.state)}")
        check(((case.state / "joined").stat().st_mode & 0o777) == 0o600, "others can read the credential")


def invited(writer, case):
    """One user is there."""
    ran = subprocess.run([SPRAT, "user", "add", "ann", "--at", f"{case.world.ip}:4777", "--state", case.state],
                         env=case.world.env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    check(ran.returncode == 0, f"no user was added: {ran.stderr}")


WRITERS = [
    Get("get of several pieces", "big.bin"),
    Get("get of one piece", "small.bin"),
    Get("get of an empty file", "empty.bin"),
    Get("get that resumes", "big.bin", before=partly),
    Get("get over a foreign part file", "two.bin", before=foreign),
    Get("get of what is there", "two.bin", before=complete),
    Get("get to a taken name", "two.bin", before=taken, exit=9),
    Get("get without RENAME_NOREPLACE", "small.bin", always="renameat2:error=EINVAL", only=("linkat", "unlinkat")),
    GetCollection("get of a collection"),
    GetCollection("get of a collection that resumes", before=half),
    GetFolder("get of a folder"),
    GetFolder("get of a folder that resumes", before=half),
    Daemon("peer, first start"),
    Daemon("peer, later start", before=settled),
    Daemon("peer, get into the share", before=settled, gets="big.bin"),
    Queue("peer, three queued downloads", before=settled),
    MakeCollection("peer, makes a collection", before=settled),
    Compact("peer, digest cache rewritten", before=garbage),
    Prompt("peer, prompt history", state=("digests", "history")),
    SuperPeer("super peer, first start", state=("listen",)),
    SuperPeer("super peer, later start", before=settled, state=("listen",)),
    Users("first user of a super peer"),
    Users("another user of a super peer", before=invited),
    Join("peer, joins a network"),
]
