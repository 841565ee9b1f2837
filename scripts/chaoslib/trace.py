"""strace: the command line, and its output as calls.

A *call* is one file-mutating system call of one thread. A *point* names a call so that another run
can meet the same one: the system call, the path that it works on, and its number among the calls of
that kind in its thread. strace counts the same way (`-P PATH`, `when=N` for each thread), so the
number does not depend on the order of threads.
"""
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# Calls that change a file, a name or the state of one on disk. Those that may also read (open) or
# write to a socket count only if their arguments say so.
MUTATING = """open openat openat2 creat write writev pwrite64 pwritev pwritev2 sendfile truncate ftruncate
fallocate copy_file_range splice ioctl fsync fdatasync sync_file_range sync syncfs rename renameat renameat2
link linkat symlink symlinkat unlink unlinkat rmdir mkdir mkdirat mknod mknodat chmod fchmod fchmodat chown
fchown fchownat lchown utime utimes utimensat futimesat setxattr fsetxattr lsetxattr flock bind msync""".split()
# strace does not find these by path: their number counts all calls of the kind in the thread.
WITHOUT_PATH = ("bind", "sync")
OPENS = ("open", "openat", "openat2", "creat")
ERRORS = ("ENOSPC", "EIO", "EINTR", "EDQUOT", "EROFS")


def need_strace():
    if shutil.which("strace"):
        return
    try:
        subprocess.run(["apt-get", "install", "-y", "-qq", "strace"], check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        sys.exit("this needs strace; install it, for example with: apt-get install strace")


@dataclass(frozen=True)
class Point:
    """Names a call in any run."""
    call: str
    path: str
    number: int

    def __str__(self):
        return f"{self.call} #{self.number} of {self.path}"


@dataclass
class Call:
    tid: int
    name: str
    args: str
    # What it returned: a number, or the name of an error with a minus; none if it did not return.
    result: str | None
    injected: bool = False

    @cached_property
    def split(self):
        """Its arguments."""
        return split(self.args)

    @property
    def ok(self):
        return self.result is not None and not self.result.startswith("-")


def command(log, argv, inject=None, path=None, calls=MUTATING, content=0):
    """`argv` under strace. `content`: how many bytes of each buffer the log keeps."""
    run = ["strace", "-f", "-y", "-qq", "-o", str(log), "-s", str(content or 32), *(["--strings-in-hex=non-ascii-chars"] if content else [])]
    run += ["-e", "signal=none", "-e", "trace=" + ",".join("?" + name for name in calls)]
    if path:
        # Once as the kernel reports a descriptor, once as an argument relative to a folder.
        run += ["-P", str(path), "-P", Path(path).name]
    if inject:
        run += ["-e", "inject=" + inject]
    return [*run, "--", *map(str, argv)]


UNFINISHED = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
FINISHED = re.compile(r"^(\d+) +(\w+)\((.*)$")
RESULT = re.compile(r"^(.*)\)\s+= (-?\d+|\?|0x[0-9a-f]+)(<.*>)?( [A-Z]\w+)?( \(.*\))?$", re.S)


def read(log):
    """The calls of a log, in the order in which they ended."""
    pending, calls = {}, []
    for line in Path(log).read_text(encoding="latin-1").split("\n"):
        if found := UNFINISHED.match(line):
            pending[int(found[1])] = (found[2], found[3])
            continue
        if found := RESUMED.match(line):
            name, begun = pending.pop(int(found[1]), (found[2], ""))
            tid, rest = int(found[1]), begun + found[3]
        elif (found := FINISHED.match(line)) and "+++" not in line[:20]:
            tid, name, rest = int(found[1]), found[2], found[3]
        else:
            continue
        if ended := RESULT.match(rest):
            value = ended[2] + (ended[3] or "")
            result = "-" + ended[4].strip() if ended[4] and ended[2] == "-1" else None if ended[2] == "?" else value
            calls.append(Call(tid, name, ended[1], result, "(INJECTED)" in rest[len(ended[1]):]))
        else:
            calls.append(Call(tid, name, rest, None))
    for tid, (name, args) in pending.items():
        calls.append(Call(tid, name, args, None))
    return calls


TOKEN = re.compile(r'"(?:[^"\\]+|\\.)*"|[^"(){}<>\[\],]+|.', re.S)


def split(args):
    """The arguments of a call, at the top level."""
    parts, depth, part = [], 0, []
    for token in TOKEN.findall(args):
        if token == "," and depth == 0:
            parts.append("".join(part).strip())
            part = []
            continue
        depth += (token in "([{<") - (token in ")]}>")
        part.append(token)
    return [*parts, "".join(part).strip()] if part else parts


FD = re.compile(r"^(-?\d+|AT_FDCWD)<(.*)>$")


def fd_path(arg):
    """The path of a descriptor argument such as `9</tmp/x>`."""
    found = FD.match(arg)
    return found[2] if found else None


def fd_number(arg):
    return int(re.match(r"-?\d+", arg)[0])


def text(arg):
    """A string argument."""
    return bytes_of(arg[1:arg.rindex('"')] if arg.startswith('"') else arg).decode(errors="surrogateescape")


def bytes_of(inner):
    """The bytes of a quoted string: C escapes."""
    return inner.encode("latin-1").decode("unicode_escape").encode("latin-1")


def content(arg):
    """The bytes of a buffer argument, which must be complete."""
    if arg.endswith("..."):
        raise ValueError("the log has only a part of a buffer")
    return bytes_of(arg[1:-1])


def joined(folder, name):
    return str(Path(folder) / name)


def paths(call):
    """The paths that a call works on, resolved; the second one of a rename is the new name."""
    args, name = call.split, call.name
    if name in ("openat", "openat2", "mkdirat", "unlinkat", "mknodat", "fchmodat", "fchownat", "utimensat"):
        if not args[1].startswith('"'):
            return [fd_path(args[0])]
        return [joined(fd_path(args[0]) or "/", text(args[1]))]
    if name in ("renameat", "renameat2", "linkat"):
        return [joined(fd_path(args[0]), text(args[1])), joined(fd_path(args[2]), text(args[3]))]
    if name == "symlinkat":
        return [joined(fd_path(args[1]), text(args[2]))]
    if name == "symlink":
        return [text(args[1])]
    if name in ("rename", "link"):
        return [text(args[0]), text(args[1])]
    if name == "bind":
        found = re.search(r'sun_path=("[^"]*")', call.args)
        return [text(found[1])] if found else []
    if name in ("copy_file_range", "splice"):
        return [fd_path(args[2])]
    if args and args[0].startswith('"'):
        return [text(args[0])]
    return [fd_path(args[0])] if args and fd_path(args[0]) else []


def is_mutating(call):
    """Whether the call changes something. An open counts if it may write, create or truncate."""
    if call.name in OPENS:
        return call.name == "creat" or bool(re.search(r"O_(CREAT|TRUNC|RDWR|WRONLY)", call.args))
    if call.name == "ioctl":
        return "FICLONE" in call.args
    return True


def points(calls, inside):
    """Every call that changes something below one of the folders `inside`, as (point, call).

    The number counts what strace counts with `-P` the same path: the same call with this path or
    name, in the same thread, whether it changes anything or not.
    """
    counts, found = {}, []
    for call in calls:
        touched = [path for path in paths(call) if path]
        args = call.split
        folders = [fd_path(arg) for arg in args if FD.match(arg)]
        own = next((path for path in touched if below(path, inside)), None)
        for path in {own, *touched, *folders, ""} - {None}:
            counts[call.tid, call.name, path] = counts.get((call.tid, call.name, path), 0) + 1
        if own and is_mutating(call):
            number = counts[call.tid, call.name, "" if call.name in WITHOUT_PATH else own]
            found.append((Point(call.name, own, number), call))
    return found


def below(path, inside):
    return any(path == str(folder) or path.startswith(f"{folder}/") for folder in inside)
