"""Lines of the attack table: what strangers make a super peer hold, and how long its turns are."""
import time

from .attack_table import mib
from .neighbor import Neighbor
from .world import RSS_FACTOR, RSS_SPARE, Failed, ask, heard, median, rss_of, started, wait_for

UNREAD, QUERIES_EACH, BUDGET_MS = 500, 64, 60_000
MEMORY = "256M"
MEMORY_BYTES = 256 << 20
RECORDS = 50_000
SETTLE_S = 60
ENDING_SESSIONS = 500
MANY = 1_000_000
FAT_SESSIONS, FAT_RECORDS = 10, 100_000
PATTERN_SESSIONS = 8
SENDERS, MESSAGE_QUERIES, MESSAGE_QUERY_S = 3, 50, 1
EXPENSIVE = ["*x" * 60 + "y", "*?x" * 60 + "[!a]", " ".join("abcdefghijklmnopqrstuvwxyz" * 4), "*[a-z]*[0-9]*[!x]y"]
TURN_P999_US_MAX, QUERY_MS_MAX = 2_000, 100
# The part of the sessions or queries of an attack that must be open or answered.
STARTED = 0.9


def unread(world, table, _rounds):
    home = world.super("home", "--memory", MEMORY)
    registrar = world.tool("registrar", home.addr)
    ask(registrar, f'{{"records": {RECORDS}, "path_bytes": 300}}')
    time.sleep(2)
    before = rss_of(home.pid)
    attacker = world.attacker("askers", home.addr, UNREAD, QUERIES_EACH, BUDGET_MS, "*", "unread")
    started(attacker, STARTED * UNREAD)
    peak, until, codes = before, time.monotonic() + 45, {}
    while time.monotonic() < until:
        peak = max(peak, rss_of(home.pid))
        code, _, _ = world.run("query", "common", "--super", home.addr, "--limit", "1", limit=20)
        codes[code] = codes.get(code, 0) + 1
        time.sleep(0.1)
    table.add(f"{UNREAD} unread sessions, {QUERIES_EACH} queries each: peak RSS", mib(before), mib(peak), f"≤ {mib(MEMORY_BYTES)}", peak <= MEMORY_BYTES)
    table.add("… exit codes of honest queries during it", "", ", ".join(f"{count} × {code}" for code, count in sorted(codes.items())), "", None)
    world.end(attacker, kill=True)
    time.sleep(SETTLE_S)
    after, bound = rss_of(home.pid), RSS_FACTOR * before + RSS_SPARE
    table.add(f"… RSS {SETTLE_S} s after it", mib(before), mib(after), f"≤ {mib(bound)}", after <= bound)


class Turns:
    """An honest session that searches without a break, in a process of its own."""

    def __init__(self, world, home):
        self.world, self.home = world, home
        self.tool = world.tool("searcher", home.addr)
        heard(self.tool)

    def end(self):
        """Milliseconds of the slowest query, p99.9 and maximum of all turns in microseconds, queries,
        and how many of them failed."""
        self.tool.stdin.close()
        slowest = heard(self.tool)
        self.world.end(self.tool)
        counts = self.world.counts(self.home.addr)
        return slowest["slowest_ms"], counts["turn_us_p999"], counts["turn_us_max"], slowest["queries"], slowest["failed"]


def judge(table, line, results):
    slow, turn, longest, queries = (median([result[k] for result in results]) for k in range(4))
    failed = sum(result[4] for result in results)
    table.add(f"{line}: median of the slowest honest query of each round", "", f"{slow:.0f} ms", f"≤ {QUERY_MS_MAX} ms, none fails",
              slow <= QUERY_MS_MAX and not failed, f"{queries} queries, {failed} failed in all")
    table.add("… p99.9 of the turns", "", f"{turn / 1e3:.1f} ms", f"≤ {TURN_P999_US_MAX / 1e3:.0f} ms", turn <= TURN_P999_US_MAX, f"longest {longest / 1e3:.0f} ms")


def judge_answers(table, rounds, count):
    """The round with the fewest queries of the attack that had DONE; one that was refused cost less."""
    fewest = min(rounds, key=lambda figures: figures["done"])
    table.add("… of them answered with DONE", "", fewest["done"], f"≥ {STARTED * count:.0f} of {count}", fewest["done"] >= STARTED * count,
              f"{fewest['error']} with ERROR, {fewest['closed']} sessions closed")


def alone(line):
    """The super peer of this line has a processor for itself: only its own work makes its turns long."""
    def run(world, table, rounds):
        with world.first_processor() as prefix:
            line(world, table, rounds, prefix)
    return run


@alone
def budgets(world, table, rounds, prefix):
    """Queries that wait for a neighbor which never answers, so that all end with their budgets."""
    results, answers = [], []
    for n in range(rounds):
        neighbor = Neighbor(answer=None, spare_time=True)
        home = world.super(f"home{n}", "--neighbor", neighbor.addr, listen=neighbor.reserve(), prefix=prefix)
        neighbor.start(home.addr)
        wait_for("the link is up", lambda: world.counts(home.addr)["links_up"] == 1)
        turns = Turns(world, home)
        asker = world.attacker("askers", home.addr, ENDING_SESSIONS, QUERIES_EACH, 6000, "nothing", "read")
        started(asker, STARTED * ENDING_SESSIONS)
        time.sleep(10)
        asker.stdin.close()
        answers.append(heard(asker))
        world.end(asker)
        results.append(turns.end())
        neighbor.stop()
        world.stop(home)
    judge(table, f"{ENDING_SESSIONS * QUERIES_EACH} queries whose budgets end together", results)
    judge_answers(table, answers, ENDING_SESSIONS * QUERIES_EACH)


@alone
def leaver(world, table, rounds, prefix):
    results, grown = [], []
    for n in range(rounds):
        home = world.super(f"home{n}", prefix=prefix)
        registrar = world.attacker("registrar", home.addr)
        turns = Turns(world, home)
        answer = ask(registrar, f'{{"records": {MANY}}}')
        if answer.get("files") != MANY:
            raise Failed(f"the records were not registered: {answer}")
        grown.append(turns.end())
        turns = Turns(world, home)
        ask(registrar, '{"leave": true}')
        # The file of the honest session stays.
        wait_for("the records are gone", lambda: world.counts(home.addr)["records"] == 1, 120, 0.5)
        time.sleep(2)
        results.append(turns.end())
        world.end(registrar)
        world.stop(home)
    judge(table, f"a session registers {MANY} records", grown)
    judge(table, f"a session of {MANY} records leaves", results)


def fat(world, table, _rounds):
    """Sessions that register long records until the super peer refuses."""
    home = world.super("home", "--memory", MEMORY)
    keep = world.tool("registrar", home.addr)
    ask(keep, '{"records": 1000, "salt": "honest"}')
    peak, refused = 0, 0
    for n in range(FAT_SESSIONS):
        registrar = world.tool("registrar", home.addr)
        answer = ask(registrar, f'{{"records": {FAT_RECORDS}, "path_bytes": 690, "salt": "fat {n}"}}')
        refused += "error" in answer
        peak = max(peak, rss_of(home.pid))
    table.add(f"{FAT_SESSIONS} sessions of {FAT_RECORDS} long records: peak RSS", "", mib(peak), f"≤ {mib(MEMORY_BYTES)}", peak <= MEMORY_BYTES)
    table.add("… sessions refused", "", refused, "≥ 1", refused >= 1)
    _, events, _ = world.run("list", "--super", home.addr)
    left = sum(event.get("event") == "file" and event["path"].startswith("honest/") for event in events)
    table.add("… records of the honest session that are left", "1000", left, "1000", left == 1000)


@alone
def patterns(world, table, rounds, prefix):
    """Patterns that are as expensive as can be, over long names."""
    results, answers = [], []
    for n in range(rounds):
        home = world.super(f"home{n}", prefix=prefix)
        registrar = world.tool("registrar", home.addr)
        ask(registrar, f'{{"records": {RECORDS}, "path_bytes": 690, "salt": "aaaaaaaaaaaaaaaa"}}')
        turns = Turns(world, home)
        askers = [world.attacker("askers", home.addr, PATTERN_SESSIONS, QUERIES_EACH, 5000, pattern, "read") for pattern in EXPENSIVE]
        for asker in askers:
            started(asker, PATTERN_SESSIONS)
        time.sleep(6)
        for asker in askers:
            asker.stdin.close()
        figures = [heard(asker) for asker in askers]
        answers.append({key: sum(figure[key] for figure in figures) for key in figures[0]})
        for asker in askers:
            world.end(asker)
        results.append(turns.end())
        world.stop(home)
    count = PATTERN_SESSIONS * QUERIES_EACH * len(EXPENSIVE)
    judge(table, f"{count} expensive patterns over {RECORDS} long names", results)
    judge_answers(table, answers, count)


def messages(world, table, _rounds):
    """Sessions that send without a break, while others dial, ask and leave."""
    for kind in ("PING", "STATUS", "LIST"):
        home = world.super(f"home-{kind}")
        registrar = world.tool("registrar", home.addr)
        ask(registrar, '{"records": 30000}')
        sender = world.attacker("senders", home.addr, SENDERS, kind)
        started(sender, SENDERS)
        took, codes = [], {}
        for _ in range(MESSAGE_QUERIES):
            code, _, seconds = world.run("query", "common 5", "--limit", "1", "--super", home.addr, limit=30)
            took.append(seconds)
            codes[code] = codes.get(code, 0) + 1
        sender.stdin.close()
        sending = heard(sender)["sending"]
        world.end(sender)
        counts = world.counts(home.addr)
        line = f"{SENDERS} sessions that send {kind} without a break"
        table.add(f"{line}: slowest query of a new session", "", f"{max(took) * 1e3:.0f} ms", f"≤ {MESSAGE_QUERY_S} s", max(took) <= MESSAGE_QUERY_S and set(codes) == {0},
                  ", ".join(f"{count} × exit {code}" for code, count in sorted(codes.items())))
        table.add("… sessions that still send at the end", "", sending, SENDERS, sending == SENDERS)
        table.add("… longest turn", "", f"{counts['turn_us_max'] / 1e3:.0f} ms", "", None)
        world.stop(home)


LINES = {"messages": messages, "fat": fat, "patterns": patterns, "unread": unread, "budgets": budgets, "leaver": leaver}
