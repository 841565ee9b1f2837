"""The rows of the attack table, and what they must be."""
import sys

# An honest command under attack against one without it.
HONEST_P99_MAX = 2


class Table:
    def __init__(self):
        self.rows = []

    def add(self, line, without, under, bound, met, note=""):
        """A row. `met` None: a figure without a bound."""
        verdict = "–" if met is None else "met" if met else "missed"
        self.rows.append((line, without, under, bound, verdict, note))
        print(f"  {verdict:7} {line}: {without or '–'} | {under} | {bound} {note}", file=sys.stderr, flush=True)

    @property
    def missed(self):
        return [row for row in self.rows if row[4] == "missed"]

    def text(self):
        head = ["| line | without | under attack | must be | verdict | note |", "| --- | --- | --- | --- | --- | --- |"]
        return "\n".join(head + ["| " + " | ".join(str(cell) or "–" for cell in row) + " |" for row in self.rows])


def ratio(before, after):
    return f"{after / before:.2f} ×" if before else ""


def mib(size):
    return f"{size / (1 << 20):.1f} MiB"
