"""Power cuts: a recorded run, replayed up to each call onto a disk that may lose what was not synced.

The model is stricter than file systems are. Each 4 KiB block of a file may hold any version since
the last fsync of that file, and the file any length since then, whatever the order of the writes. A
name that was made, removed or renamed may be lost until its folder is synced, each on its own; an
fsync of a file does not sync its name. Only what a rename does is one step.
"""
import os
import random
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from . import trace
from .nodes import Violation, check
from .writers import judge_text

BLOCK = 4096
# Rounds of three random states of each prefix, besides the fixed ones.
RANDOM_ROUNDS = 2
CALLS = [*trace.MUTATING, "lseek", "close"]
FOLDER, SOCKET = "folder", "socket"
# What no file that is made gets. The recorded processes inherit it.
UMASK = os.umask(0)
os.umask(UMASK)


class File(NamedTuple):
    """A file of a state. Two names with the same number are one file."""
    number: int
    content: bytes
    mode: int


class Link(NamedTuple):
    """A symbolic link."""
    to: str


class Inode:
    """A file: every content that it has had since its last sync. The first one is on the disk. Its mode
    is there with it."""

    def __init__(self, content=b"", mode=0o644):
        self.versions, self.mode = [content], mode

    @property
    def now(self):
        return self.versions[-1]

    def write(self, offset, data):
        now = bytearray(self.now)
        if len(now) < offset:
            now.extend(bytes(offset - len(now)))
        now[offset:offset + len(data)] = data
        self.versions.append(bytes(now))

    def truncate(self, length):
        self.versions.append(self.now[:length].ljust(length, b"\0"))

    def sync(self):
        self.versions = [self.now]

    def pick(self, block, length):
        """A content whose blocks and length are chosen by two functions of the number of versions."""
        size = len(self.versions[length(len(self.versions))])
        out = bytearray(size)
        for at in range(0, size, BLOCK):
            part = self.versions[block(len(self.versions))][at:min(at + BLOCK, size)]
            out[at:at + len(part)] = part
        return bytes(out)


class Disk:
    """Files, names, and what of both is on the disk."""

    def __init__(self, folders, deaf=False):
        # Path to inode, or to a word for what is no file.
        self.durable, self.pending = {}, []
        # Path to inode as the processes see it.
        self.now = {}
        self.inodes = []
        self.fds, self.offsets, self.appending = {}, {}, set()
        self.folders = folders
        # Ignores every sync: the control of the test itself.
        self.deaf = deaf
        for folder in folders:
            for path in [folder, *folder.rglob("*")] if folder.exists() else []:
                self.durable[str(path)] = FOLDER if path.is_dir() else self.inode(path.read_bytes(), path.stat().st_mode & 0o777)
        self.now = dict(self.durable)

    def inode(self, content=b"", mode=0o644):
        self.inodes.append(Inode(content, mode))
        return self.inodes[-1]

    def rename(self, changes):
        """Names change in one step: path to inode, or to none."""
        self.pending.append(changes)
        self.apply(self.now, changes)

    @staticmethod
    def apply(names, changes):
        for path, inode in changes.items():
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode

    def sync_folder(self, folder):
        kept = []
        for changes in self.pending:
            if any(os.path.dirname(path) == folder for path in changes):
                self.apply(self.durable, changes)
            else:
                kept.append(changes)
        self.pending = kept

    def sync_all(self):
        for changes in self.pending:
            self.apply(self.durable, changes)
        self.pending = []
        for inode in self.inodes:
            inode.sync()

    def feed(self, call):
        """Applies a call. True if it changed anything or synced something."""
        if not call.ok:
            return False
        args = call.split
        handler = getattr(self, f"on_{call.name}", None)
        if handler is None:
            touched = [path for path in trace.paths(call) if path and trace.below(path, self.folders)]
            check(not touched or call.name in IGNORED or not trace.is_mutating(call),
                  f"the replay does not know {call.name}({call.args[:200]})")
            return False
        return bool(handler(call, args))

    def of_fd(self, arg):
        """The inode of a descriptor argument, if it is one of ours."""
        path = trace.fd_path(arg)
        if not path or not trace.below(path, self.folders):
            return None
        inode = self.fds.get(trace.fd_number(arg))
        check(inode or not isinstance(self.now.get(path), Inode), f"the replay does not know the descriptor {arg}")
        return inode

    # ---- calls ----------------------------------------------------------------------------------

    def on_openat(self, call, args):
        path, flags = trace.paths(call)[0], args[2]
        fd = trace.fd_number(call.result)
        self.fds.pop(fd, None)
        if not trace.below(path, self.folders):
            return False
        changed = False
        inode = self.now.get(path)
        if inode is None and "O_CREAT" in flags:
            inode = self.inode(mode=int(args[3], 8) & ~UMASK)
            self.rename({path: inode})
            changed = True
        if isinstance(inode, Inode):
            self.fds[fd], self.offsets[fd] = inode, 0
            self.appending.discard(fd)
            if "O_APPEND" in flags:
                self.appending.add(fd)
            if "O_TRUNC" in flags and inode.now:
                inode.truncate(0)
                changed = True
        return changed

    def on_close(self, call, args):
        self.fds.pop(trace.fd_number(args[0]), None)

    def on_fchmod(self, call, args):
        inode = self.of_fd(args[0])
        if inode:
            inode.mode = int(args[1], 8)
        return inode is not None

    def on_lseek(self, call, args):
        self.offsets[trace.fd_number(args[0])] = int(call.result)

    def on_pwrite64(self, call, args):
        inode = self.of_fd(args[0])
        if inode:
            inode.write(int(args[3]), trace.content(args[1])[:int(call.result)])
        return inode is not None

    def on_write(self, call, args):
        inode, fd = self.of_fd(args[0]), trace.fd_number(args[0])
        if not inode:
            return False
        at = len(inode.now) if fd in self.appending else self.offsets.get(fd, 0)
        data = trace.content(args[1])[:int(call.result)]
        inode.write(at, data)
        self.offsets[fd] = at + len(data)
        return True

    def on_ftruncate(self, call, args):
        inode = self.of_fd(args[0])
        if inode and len(inode.now) != int(args[1]):
            inode.truncate(int(args[1]))
            return True
        return False

    def on_fsync(self, call, args):
        path = trace.fd_path(args[0])
        if not path or not trace.below(path, self.folders) or self.deaf:
            return False
        inode = self.of_fd(args[0])
        if inode:
            inode.sync()
        else:
            self.sync_folder(path)
        return True

    on_fdatasync = on_fsync

    def on_sync(self, call, args):
        if not self.deaf:
            self.sync_all()
        return True

    on_syncfs = on_sync

    def on_rename(self, call, args):
        old, new = trace.paths(call)[:2]
        if not trace.below(old, self.folders):
            return False
        self.rename({old: None, new: self.now.get(old)})
        return True

    on_renameat = on_renameat2 = on_rename

    def on_link(self, call, args):
        old, new = trace.paths(call)[:2]
        self.rename({new: self.now.get(old)})
        return True

    on_linkat = on_link

    def on_unlink(self, call, args):
        path = trace.paths(call)[0]
        if not trace.below(path, self.folders):
            return False
        self.rename({path: None})
        return True

    on_unlinkat = on_rmdir = on_unlink

    def on_mkdir(self, call, args):
        path = trace.paths(call)[0]
        if trace.below(path, self.folders):
            self.rename({path: FOLDER})
        return trace.below(path, self.folders)

    on_mkdirat = on_mkdir

    def on_bind(self, call, args):
        path = next(iter(trace.paths(call)), "")
        if trace.below(path, self.folders):
            self.rename({path: SOCKET})
        return trace.below(path, self.folders)

    def on_symlink(self, call, args):
        path = trace.paths(call)[0]
        if trace.below(path, self.folders):
            self.rename({path: Link(trace.text(args[0]))})
        return trace.below(path, self.folders)

    # ---- states ---------------------------------------------------------------------------------

    def state(self, name_kept, block, length):
        """What is on the disk: path to content. `name_kept` says for each pending change of names
        whether it got there."""
        names = dict(self.durable)
        for changes in self.pending:
            if name_kept():
                self.apply(names, changes)
        picked = {}
        out = {}
        for path, inode in sorted(names.items()):
            if isinstance(inode, Inode):
                if inode not in picked:
                    picked[inode] = File(len(picked), inode.pick(block, length), inode.mode)
                inode = picked[inode]
            out[path] = inode
        # What is in a folder that was lost is lost with it. A folder sorts before what is in it.
        kept, tops = {}, set(map(str, self.folders))
        for path, content in sorted(out.items()):
            if path in tops or kept.get(os.path.dirname(path)) == FOLDER:
                kept[path] = content
        return kept

    def states(self, draw, rounds):
        """States that a power cut may leave now: the extremes, and random ones."""
        first, last = (lambda n: 0), (lambda n: n - 1)
        any_of = lambda n: draw.randrange(n)
        keep, lose, toss = (lambda: True), (lambda: False), (lambda: draw.random() < 0.5)
        for choice in [(keep, last, last), (keep, first, first), (keep, first, last), (lose, last, last), (lose, first, first),
                       *[(toss, any_of, any_of), (keep, any_of, last), (toss, last, any_of)] * rounds]:
            yield self.state(*choice)


# They change nothing that the model has.
IGNORED = ("flock", "ioctl", "fchmodat", "chmod", "utimensat", "sendfile", "splice")


def lay_out(case, state):
    """Makes the folders what the power cut left. Files that are as they were are not touched."""
    for folder in case.inside():
        for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else []:
            content = state.get(str(path))
            if path.is_dir():
                if content != "folder":
                    shutil.rmtree(path)
            elif path.is_symlink() or not isinstance(content, File) or path.read_bytes() != content.content:
                path.unlink()
        if folder.exists() and str(folder) not in state:
            shutil.rmtree(folder)
    made = {}
    for path, content in sorted(state.items()):
        path = Path(path)
        if content == FOLDER:
            path.mkdir(exist_ok=True)
        elif content == SOCKET:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
        elif isinstance(content, Link):
            path.symlink_to(content.to)
        elif content.number in made:
            path.unlink(missing_ok=True)
            os.link(made[content.number], path)
        else:
            if not path.exists():
                path.write_bytes(content.content)
                path.chmod(content.mode)
            made[content.number] = path


@dataclass
class Tally:
    prefixes: int = 0
    states: int = 0
    violations: list = field(default_factory=list)


def record(writer, case):
    """The calls of a run without a fault, with all bytes that it writes."""
    case.reset()
    log = case.folder / "log"

    def wrap(argv):
        command = trace.command(log, argv, calls=CALLS, content=64 << 20)
        if writer.always:
            at = command.index("--")
            command[at:at] = ["-e", "inject=" + writer.always]
        return command

    result = writer.run(case, wrap)
    check(result.exit == writer.exit, f"{writer.name}: the recorded run exits {result.exit}: {result.text}")
    return trace.read(log)


def run(writer, case, seed, report, rounds=RANDOM_ROUNDS, deaf=False):
    """Every prefix of a run. Stops at the first violation if it is `deaf`."""
    draw = random.Random(seed)
    calls = record(writer, case)
    tally = Tally()
    case.reset()
    disk = Disk(case.inside(), deaf)
    seen = set()
    for number, call in enumerate([None, *calls, None]):
        has_ended = number > len(calls)
        if call is not None and not disk.feed(call):
            continue
        tally.prefixes += not has_ended
        for state in disk.states(draw, rounds):
            key = hash(tuple(sorted((path, content) for path, content in state.items())))
            if key in seen and not has_ended:
                continue
            tally.states += key not in seen
            seen.add(key)
            call_text = f"{call.name}({call.args[:120]})" if call else "the last one" if has_ended else "none"
            where = f"{writer.name}: cut after call {number}, {call_text}"
            try:
                attempt(writer, case, state, has_ended)
            except Violation as violation:
                tally.violations.append(f"{where}: {violation}")
                report(tally.violations[-1])
                if deaf:
                    return tally
    return tally


def attempt(writer, case, state, has_ended):
    """The same command after a power cut."""
    case.reset()
    lay_out(case, state)
    if has_ended:
        writer.judge_durable(case)
    writer.at_destination(case)
    left = writer.memory(case)
    last = writer.run(case)
    judge_text(last)
    writer.judge_last(case, last, left)
