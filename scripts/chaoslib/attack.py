"""scripts/chaos attack: what strangers can do to the real binary, with and without the attack in
alternating rounds. Prints a Markdown table with verdicts. Exits 1 if a line is missed.

The attackers are written from PROTOCOL.md and use nothing of sprat.
"""
import argparse
import os
import sys
import time
import traceback

from . import world as machine

PARTS = ["attack_connections", "attack_memory", "attack_sources", "attack_dials", "attack_datagrams"]


def lines():
    import importlib
    found = {}
    for part in PARTS:
        found.update(importlib.import_module(f"chaoslib.{part}").LINES)
    return found


def environment():
    return f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {os.uname().sysname} {os.uname().release}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}, {machine.SPRAT}"


def main(arguments):
    machine.need_root()
    machine.need_tools(("ip", "iproute2"), ("nft", "nftables"))
    machine.need_python("msgpack", "blake3")
    known = lines()
    parser = argparse.ArgumentParser(prog="scripts/chaos attack", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="alternating rounds (3)")
    parser.add_argument("--only", default="", metavar="LINE,…", help=f"of {', '.join(known)}")
    parser.add_argument("--out", metavar="FILE", help="append the table to this file")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    options = parser.parse_args(arguments)
    chosen = [name for name in options.only.split(",") if name] or list(known)
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no line is called {', '.join(unknown)}")
    machine.build()
    machine.isolate()
    machine.raise_descriptors()
    from .attack_table import Table
    table = Table()
    for name in chosen:
        print(f"== {name}", file=sys.stderr, flush=True)
        try:
            with machine.World(keep=options.keep) as world:
                known[name](world, table, options.rounds)
        except Exception as error:  # A line that cannot be measured must not hide the others.
            traceback.print_exc()
            table.add(name, "", f"not measured: {error}", "", False)
    text = f"### Attacks\n\n{environment()}, {options.rounds} alternating rounds\n\n{table.text()}\n"
    print(text)
    if options.out:
        with open(options.out, "a") as out:
            out.write(text)
    return 1 if table.missed else 0
