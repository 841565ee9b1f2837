"""Lines of the attack table: sources that lie, stall and drip beside honest ones.

Each honest source is in a namespace of its own and sends at RATE, so that a download lasts some
seconds; then the same without a rate, where a slow source may cost at most SLOW_DELAY_S.
"""
import contextlib
import os
import signal
import threading

from .attack_table import ratio
from .liar import KINDS
from .net import Net
from .wire import PIECE
from .world import content, heard, median, root_of

RATE = 12 << 20
SIZE = (96 << 20) + 4321
DRIPPING = 7
DRIP_FACTOR, LIAR_FACTOR = 3, 2
SLOW_DELAY_S = 5.0
# The honest sources answer nothing for this long after a download began, with liars and without, so
# that each liar is heard first.
LATE_S = 0.3
WRONG_MAX = 2
THROWN_PIECES, THROWN_SECONDS = 2, 0.5
PATH = "the content.bin"
LIARS = [kind for kind in KINDS if kind != "right"]
# These must have been asked for pieces; the others spoil what comes before a GET.
SERVING = ("wrong-bytes", "md5-of-wrong", "wrong-md5", "truncate", "stall", "drip-chunk", "equivocate", "proof-then-wrong", "close-after-header", "changed",
           "wrong-length", "huge-length", "wrong-offset", "no-md5", "slow", "bait")
# A size that no content has: its hit is dropped, and the source is not dialed.
IMPOSSIBLE = ("huge-size",)
# With many sources a download may end before it has dialed all.
ASKED = 0.5


class Place:
    """A super peer, honest sources behind a rate, and room for liars."""

    def __init__(self, world, net, sources, tag):
        self.world, self.net, self.tag = world, net, tag
        self.device = f"here{tag}"[:15]
        here = net.join(self.device)
        self.home = world.super(f"home-{tag}", listen=f"{here}:0")
        self.file = world.dir / f"content-{tag}"
        self.root = content(self.file, SIZE, 7)
        self.spaces, self.peers = [], []
        for n in range(sources):
            space = net.space(f"{tag}{n}")
            share = world.dir / f"share-{tag}-{n}"
            share.mkdir()
            (share / PATH).hardlink_to(self.file)
            self.peers.append(world.peer(f"holder-{tag}-{n}", self.home.addr, share, listen=f"{space.ip}:0", prefix=space.prefix))
            self.spaces.append(space)
        world.wait_found(self.home.addr, self.root, sources)

    def rate(self, rate):
        for space in self.spaces:
            space.rate(rate)

    def get(self, limit=180.0):
        """One download. Its seconds, or None if it failed; what it ended with."""
        out = self.world.dir / f"got-{self.tag}"
        for peer in self.peers:
            os.kill(peer.pid, signal.SIGSTOP)
        late = threading.Timer(LATE_S, lambda: [os.kill(peer.pid, signal.SIGCONT) for peer in self.peers])
        late.start()
        code, _, took = self.world.run("get", self.root, "-o", out, "--super", self.home.addr, limit=limit)
        late.join()
        if out.exists() and root_of(out) != self.root:
            return None, "WRONG BYTES under the final name"
        right = code == 0 and out.exists()
        for left in self.world.dir.glob(f"*got-{self.tag}*"):
            left.unlink()
        return (took, "") if right else (None, f"exit {code}")

    @contextlib.contextmanager
    def liars(self, kinds, rate):
        """Their figures are filled in at the end. Each has an address of its own: a super peer dials one
        host seldom, and prefers none that it has not reached."""
        tools = [self.world.tool("liar", self.home.addr, self.file, PATH, self.root, self.peers[0].addr, kind, rate, self.net.another(self.device)) for kind in kinds]
        unreached = [kind for tool, kind in zip(tools, kinds) if not heard(tool)["reached"]]
        if unreached:
            raise RuntimeError(f"the super peer has not reached {', '.join(unreached)}")
        figures = []
        try:
            yield figures
        finally:
            for tool in tools:
                tool.stdin.close()
                figures.append(heard(tool))
                self.world.end(tool)


def seconds(values):
    return f"{median(values):.2f} s" if values else "–"


def thrown_away(figures):
    return max(0, figures["sent"] - figures["right"] * PIECE)


def unasked(figures):
    """The kinds of liars that were not asked: they have wasted nothing, which shows nothing. Empty if
    enough of many were."""
    least = 1 if len(figures) == 1 else ASKED
    could = [figure for figure in figures if figure["kind"] not in IMPOSSIBLE]
    quiet = [figure["kind"] for figure in could if not figure["connections"] or figure["kind"] in SERVING and not figure["gets"]]
    return quiet if len(could) - len(quiet) < least * len(could) else []


def one(table, place, line, kinds, rounds, factor, shaped):
    rate = RATE if shaped else 0
    place.rate(rate or None)
    alone, beside, reasons, all_figures = [], [], [], []
    for _ in range(rounds):
        took, reason = place.get()
        if took is None:
            raise RuntimeError(f"a download from honest sources failed: {reason}")
        alone.append(took)
        with place.liars(kinds, rate) as figures:
            took, reason = place.get(limit=60 + 10 * alone[-1])
        all_figures += figures
        reasons += [f"{kind} was not asked" for kind in unasked(figures)]
        if took is None:
            reasons.append(reason)
        else:
            beside.append(took)
    base, now = median(alone), median(beside) if beside else float("inf")
    bound = factor * base if shaped else max(factor * base, base + SLOW_DELAY_S)
    met = not reasons and now <= bound
    table.add(line, seconds(alone), seconds(beside), f"≤ {factor} ×" if shaped else f"≤ + {SLOW_DELAY_S:.0f} s", met, ", ".join(sorted(set(reasons))) or ratio(base, now))
    return all_figures


def worst(table, what, bound, most, value_of, figures):
    """The liar with the highest figure."""
    figure = max(figures, key=value_of)
    value = value_of(figure)
    table.add(what, "", f"{value:.3g}", bound, value <= most, figure["kind"])


def judge_figures(table, figures):
    """What a liar could waste."""
    most = THROWN_PIECES + THROWN_SECONDS * RATE / PIECE
    worst(table, "wrong pieces of one liar", f"≤ {WRONG_MAX}", WRONG_MAX, lambda figure: figure["wrong"], figures)
    worst(table, "bytes of one liar thrown away, in pieces", f"≤ {most:.0f}", most, lambda figure: thrown_away(figure) / PIECE, figures)
    worst(table, "bytes asked of one liar before its first right piece, in pieces", "≤ 1", 1, lambda figure: figure["outstanding"] / PIECE, figures)


def dripping(world, table, rounds):
    with Net() as net:
        place = Place(world, net, 1, "d")
        for shaped in (True, False):
            for kind in ("drip", "drip-chunk"):
                how = f"honest source at {RATE >> 20} MiB/s" if shaped else "honest source at full speed"
                one(table, place, f"{DRIPPING} of {DRIPPING + 1} sources {kind}, {how}", [kind] * DRIPPING, rounds, DRIP_FACTOR, shaped)


def liars(world, table, rounds):
    with Net("10.78") as net:
        place = Place(world, net, 2, "l")
        everything = []
        for shaped in (True, False):
            how = f"two honest at {RATE >> 20} MiB/s" if shaped else "two honest at full speed"
            for kind in LIARS:
                figures = one(table, place, f"liar {kind} beside {how}", [kind], rounds, LIAR_FACTOR, shaped)
                if shaped:
                    everything += figures
            figures = one(table, place, f"all {len(LIARS)} liars beside {how}", LIARS, rounds, LIAR_FACTOR, shaped)
            if shaped:
                everything += figures
        judge_figures(table, everything)


LINES = {"dripping": dripping, "liars": liars}
