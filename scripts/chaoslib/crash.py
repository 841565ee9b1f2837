"""Crash points of the real binary.

A download and every other writer of files is killed at every file-mutating system call of a run,
and every such call fails once with each of five errors; then the same command runs again. What must
hold: nothing wrong is under a final name, no verified piece is fetched again, the state can be
read, nothing is left over, a failure has its documented exit code and a sentence, a daemon that
serves goes on. Then power cuts: a recorded run is replayed up to each call, with writes that were
not synced lost or torn at 4 KiB and names that were not synced lost; and images of a mounted ext4,
copied while files are downloaded to it.

Needs strace. The images need root, loop devices and mkfs.ext4; without them they are skipped, and
the exit code is 77 if all else is well. The writers are the table in scripts/chaoslib/writers.py.
"""
import argparse
import os
import shutil
import sys
import threading
import time
from queue import Empty, Queue

from . import images, nodes, points, powercut, trace
from .nodes import Violation
from .world import build
from .writers import FILES, WRITERS, Case

SKIPPED = 77
MEMORY = "/dev/shm"
PARTS = ("points", "power", "images")


def main(arguments):
    parser = argparse.ArgumentParser(prog="scripts/chaos crash", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be repeated")
    parser.add_argument("--only", metavar="TEXT", default="", help="only writers whose name contains this")
    parser.add_argument("--faults", default="kill," + ",".join(trace.ERRORS), help="default: %(default)s")
    parser.add_argument("--images", type=int, default=100, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the power cuts (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once (default %(default)s)")
    parser.add_argument("--short", action="store_true", help="kills and EIO only, fewer states of each power cut, 5 images")
    args = parser.parse_args(arguments)
    if args.short:
        args.faults, args.images = "kill,EIO", 5
    trace.need_strace()
    build()
    writers = [writer for writer in WRITERS if args.only in writer.name]
    if not writers:
        parser.error(f"no writer's name contains {args.only!r}")
    parts = args.part or PARTS
    begun = time.monotonic()
    results = {}
    if "points" in parts:
        results["points"] = crash_points(writers, args.faults.split(","), args.jobs)
    if "power" in parts:
        results["power"] = power_cuts(writers, args.seed, args.jobs, 0 if args.short else powercut.RANDOM_ROUNDS)
    if "images" in parts:
        results["images"] = ext4_images(args.images, args.seed)
    print(f"\n{time.monotonic() - begun:.0f} s, seed {args.seed}")
    if False in results.values():
        return 1
    return SKIPPED if None in results.values() else 0


def report(text):
    print(f"VIOLATION {text}", file=sys.stderr, flush=True)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def in_parallel(writers, jobs, work):
    """Calls `work(writer, case)` for each, each thread in a world of its own. Returns writers and
    results in the order of the writers."""
    queue, results, failures = Queue(), {}, []
    for writer in writers:
        queue.put(writer)

    def serve():
        world = nodes.World(FILES)
        try:
            while not failures:
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
        except (Violation, OSError) as failure:
            failures.append(failure)
            raise
        finally:
            world.close()

    threads = [threading.Thread(target=serve) for _ in range(min(jobs, len(writers)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures or len(results) != len(writers):
        sys.exit(f"it could not run: {failures}")
    return [(writer, results[writer.name]) for writer in writers]


def table(head, rows, sums):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in [*rows, ["all", *sums]]:
        print("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) + " |")


def columns(rows):
    return [sum(row[n] for row in rows) for n in range(1, len(rows[0]))]


def crash_points(writers, faults, jobs):
    """Every moment of death and every failed call."""

    def work(writer, case):
        tally = points.run(writer, case, faults, report)
        progress(f"{writer.name}: {sum(tally.calls.values())} calls, {len(tally.violations)} violations")
        return tally

    tallies = in_parallel(writers, jobs, work)
    rows = [[writer.name, sum(tally.calls.values()), tally.kills, tally.errors, len(tally.missed), len(tally.violations)]
            for writer, tally in tallies]
    sums = columns(rows)
    print(f"\n## Crash points ({', '.join(faults)})\n")
    table(["writer", "calls", "killed at", "errors returned", "not met", "violations"], rows, sums)
    kinds = sum((tally.calls for _, tally in tallies), start=type(tallies[0][1].calls)())
    print("\nCalls by kind: " + ", ".join(f"{name} {count}" for name, count in kinds.most_common()) + ".")
    for _, tally in tallies:
        for text in tally.missed:
            print(f"not met: {text}")
        for text in tally.violations:
            print(f"violation: {text}")
    return sums[3] == sums[4] == 0 and sums[0] > 0


def power_cuts(writers, seed, jobs, rounds):
    """Every prefix of a recorded run, then the control: without any sync there must be violations."""

    def work(writer, case):
        tally = powercut.run(writer, case, seed, report, rounds)
        progress(f"{writer.name}: {tally.prefixes} prefixes, {tally.states} states, {len(tally.violations)} violations")
        return tally

    tallies = in_parallel(writers, jobs, work)
    rows = [[writer.name, tally.prefixes, tally.states, len(tally.violations)] for writer, tally in tallies]
    sums = columns(rows)
    print("\n## Power cuts, replayed\n")
    table(["writer", "prefixes", "states of the disk", "violations"], rows, sums)
    for _, tally in tallies:
        for text in tally.violations:
            print(f"violation: {text}")
    first = next((writer for writer in writers if writer.syncs), None)
    found = True
    if not first:
        print("\nControl not run: none of these writers syncs.")
    else:
        control = in_parallel([first], 1, lambda writer, case: powercut.run(writer, case, seed, lambda _: None, rounds, deaf=True))
        found = bool(control[0][1].violations)
        print(f"\nControl, with every sync left out of the replay: {'a violation is found' if found else 'NOTHING is found'}.")
    return sums[2] == 0 and sums[0] > 0 and found


def ext4_images(count, seed):
    """Images of a mounted ext4. None if this machine cannot mount one."""
    # In memory if possible, because each image is copied.
    world = nodes.World(FILES, MEMORY if os.access(MEMORY, os.W_OK) else None)
    try:
        tally = images.run(world, count, seed, report)
    except images.Unavailable as why:
        print(f"\nImages of ext4 are skipped: {why}")
        return None
    except Violation as why:
        print(f"\nImages of ext4 could not be made: {why}")
        return False
    finally:
        world.close()
    print("\n## Power cuts, images of ext4\n")
    print(f"{tally.images} images: {tally.published} published files and {tally.partly} part files with verified pieces "
          f"found; {len(tally.violations)} violations.")
    for text in tally.violations:
        print(f"violation: {text}")
    return not tally.violations and tally.published > 0 and tally.partly > 0
