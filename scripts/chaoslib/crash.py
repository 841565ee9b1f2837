"""Crash points of the real binary.

A download and every other writer of files is killed at every file-mutating system call of a run,
and every such call fails once with each of five errors; then the same command runs again. What must
hold: nothing wrong is under a final name, no verified piece is fetched again, the state can be
read, nothing is left over, a failure has its documented exit code and a sentence, a daemon that
serves goes on. Then power cuts: a recorded run is replayed up to each call, with writes that were
not synced lost or torn at 4 KiB and names that were not synced lost; and images of a mounted ext4.

Needs strace; the images need root and loop devices.
"""
import argparse
import shutil
import sys
import threading
import time
from queue import Empty, Queue

from . import nodes, points, trace
from .writers import FILES, WRITERS, Case


def main(arguments):
    parser = argparse.ArgumentParser(prog="scripts/chaos crash", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", help="only writers whose name contains this")
    parser.add_argument("--faults", default="kill," + ",".join(trace.ERRORS), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once (default %(default)s)")
    args = parser.parse_args(arguments)
    trace.need_strace()
    nodes.build()
    writers = [writer for writer in WRITERS if not args.only or args.only in writer.name]
    begun = time.monotonic()
    tallies = crash_points(writers, args.faults.split(","), args.jobs)
    ok = print_points(tallies)
    print(f"\n{time.monotonic() - begun:.0f} s")
    return 0 if ok else 1


def in_parallel(writers, jobs, work):
    """Calls `work(writer, case)` for each, each thread in a world of its own. Returns the results in
    the order of the writers."""
    queue, results, failures = Queue(), {}, []
    for writer in writers:
        queue.put(writer)

    def serve():
        world = nodes.World(FILES)
        try:
            while True:
                writer = queue.get_nowait()
                folder = world.folder / "case"
                folder.mkdir()
                case = Case(world, folder, world.folder / "template")
                writer.prepare(case)
                case.keep()
                results[writer.name] = work(writer, case)
                shutil.rmtree(folder)
        except Empty:
            pass
        except BaseException as failure:
            failures.append(failure)
            raise
        finally:
            world.close()

    threads = [threading.Thread(target=serve) for _ in range(min(jobs, len(writers)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"stopped: {failures[0]}")
    return [(writer, results[writer.name]) for writer in writers]


def crash_points(writers, faults, jobs):
    def report(text):
        print(f"VIOLATION {text}", file=sys.stderr, flush=True)

    def work(writer, case):
        tally = points.run(writer, case, faults, report)
        print(f"{writer.name}: {sum(tally.calls.values())} calls, {len(tally.violations)} violations", file=sys.stderr, flush=True)
        return tally

    return in_parallel(writers, jobs, work)


def print_points(tallies):
    print("| writer | calls | killed at | errors returned | not met | violations |")
    print("|---|---|---|---|---|---|")
    sums = [0] * 5
    for writer, tally in tallies:
        row = [sum(tally.calls.values()), tally.kills, tally.errors, len(tally.missed), len(tally.violations)]
        sums = [a + b for a, b in zip(sums, row)]
        print(f"| {writer.name} | " + " | ".join(map(str, row)) + " |")
    print("| all | " + " | ".join(map(str, sums)) + " |")
    for _, tally in tallies:
        for text in tally.missed:
            print(f"not met: {text}")
        for text in tally.violations:
            print(f"violation: {text}")
    return sums[3] == sums[4] == 0 and sums[0] > 0
