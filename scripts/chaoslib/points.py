"""Every moment of death and every failed call of each writer, one at a time."""
import signal
import traceback
from collections import Counter
from dataclasses import dataclass, field

from . import trace
from .nodes import Violation, check
from .writers import judge_text

# A point is tried this often before it counts as not covered: threads may order their calls in
# another way.
TRIES = 8
# Runs without a fault from which the points are taken.
CLEAN_RUNS = 2
# Calls that signal(7) or their own manual page lets fail with EINTR. They must be retried.
INTERRUPTIBLE = trace.OPENS + ("write", "writev", "pwrite64", "ftruncate", "truncate", "fallocate", "fsync", "fdatasync",
                               "flock", "copy_file_range", "renameat2", "rename", "link", "linkat", "unlink", "unlinkat",
                               "mkdir")


@dataclass
class Tally:
    """What was tried of one writer."""
    calls: Counter = field(default_factory=Counter)
    kills: int = 0
    errors: int = 0
    missed: list = field(default_factory=list)
    violations: list = field(default_factory=list)


def find(writer, case):
    """The points of a run without a fault, in order."""
    found = {}
    for _ in range(CLEAN_RUNS):
        case.reset()
        log = case.folder / "log"
        result = writer.run(case, lambda argv: with_always(writer, trace.command(log, argv)))
        check(result.exit == writer.exit, f"{writer.name}: a run without a fault exits {result.exit}: {result.text}")
        calls = trace.points(trace.read(log), case.inside())
        check(calls or writer.exit, f"{writer.name}: it writes nothing")
        for point, _ in calls:
            if not writer.only or point.call in writer.only:
                found.setdefault(point)
    return list(found)


def with_always(writer, command):
    if writer.always:
        at = command.index("--")
        command[at:at] = ["-e", "inject=" + writer.always]
    return command


def attempt(writer, case, point, fault):
    """One run with one fault, then the same command again. False if the fault was not met."""
    case.reset()
    before = writer.memory(case)
    log = case.folder / "log"
    what = "signal=SIGKILL" if fault == "kill" else f"error={fault}"
    inject = f"{point.call}:{what}:when={point.number}"
    path = None if point.call in trace.WITHOUT_PATH else point.path
    first = writer.run(case, lambda argv: with_always(writer, trace.command(log, argv, inject, path)), fault=True)
    judge_text(first)
    met = first.exit == -signal.SIGKILL if fault == "kill" else any(call.injected for call in trace.read(log))
    if not met:
        return False
    if fault != "kill":
        allowed = {writer.exit} if fault == "EINTR" and point.call in INTERRUPTIBLE else {writer.exit, *writer.disk_exits}
        if writer.exit or (fault != "EINTR" and writer.must_fail(point)):
            allowed -= {0}
        check(first.exit in allowed, f"exit {first.exit}, expected one of {sorted(allowed)}: {first.text[-300:]}")
        for code in first.asked[:1]:
            check(code in allowed, f"what was asked ended with {code}, expected one of {sorted(allowed)}")
    writer.judge_first(case, first, before)
    left = writer.memory(case)
    last = writer.run(case)
    judge_text(last)
    writer.judge_last(case, last, left)
    return True


def run(writer, case, faults, report):
    """All points of a writer. `report` is called with each violation."""
    tally = Tally()
    for point in find(writer, case):
        tally.calls[point.call] += 1
        for fault in faults:
            try:
                met = any(attempt(writer, case, point, fault) for _ in range(TRIES))
            except Violation as violation:
                met = True
                tally.violations.append(f"{writer.name}: {fault} at {point}: {violation}")
                report(tally.violations[-1])
            except Exception:
                met = True
                tally.violations.append(f"{writer.name}: {fault} at {point}: {traceback.format_exc()}")
                report(tally.violations[-1])
            if not met:
                tally.missed.append(f"{writer.name}: {fault} at {point}")
            elif fault == "kill":
                tally.kills += 1
            else:
                tally.errors += 1
    return tally
