#!/usr/bin/env python3
"""A super peer with one link and no sessions, written from PROTOCOL.md. Needs python3 and msgpack.

    neighbor.py LISTEN NEIGHBOR [NAME SIZE ROOT ADDR]...

It opens a link from LISTEN to the super peer at NEIGHBOR (both IP:PORT; that super peer must name
LISTEN as its neighbor), and answers its queries from the files in the arguments: ROOT is what
`b3sum` prints, ADDR the HOST:PORT of a source. Each line of standard input is a pattern: it sends a
query for these words, and prints the hits and the DONE. It ends when its input ends.

It uses no digests and no trees, and answers the kinds `exact`, `root` and `words`.
"""
import os
import select
import socket
import sys
import time

import msgpack

HITS_MAX, TTL_MAX = 1000, 64


def words_of(text):
    """The words of a name or pattern (4.6)."""
    folded = "".join("σ" if c == "ς" else c.lower() for c in text)
    return set("".join(c if c.isalnum() else " " for c in folded).split())


def fits(find, record):
    """Whether a record fits a search; None if its kind is not known here."""
    name, pattern = record["p"].rsplit("/", 1)[-1], find["q"]
    if not find.get("min", 0) <= record["s"] <= find.get("max", 1 << 64):
        return False
    if find["k"] == "words":
        return name == pattern or bool(words_of(pattern)) and words_of(pattern) <= words_of(name)
    return {"exact": name == pattern, "root": record["r"].hex() == pattern.lower()}.get(find["k"])


class Link:
    """The link to one neighbor: HELLO, round trips, datagrams (chapter 6)."""

    def __init__(self, listen, neighbor):
        self.sock = socket.socket(socket.AF_INET6 if ":" in listen[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(listen)
        self.to = neighbor
        self.node, self.boot = os.urandom(16), int.from_bytes(os.urandom(8), "big") or 1
        self.their_boot = 0  # 0: nothing is heard
        self.number = 0  # of the last datagram that was sent
        self.is_up = False  # both ends hear each other
        self.heard = self.greeted = 0.0
        self.since = 0  # when the link was last down
        self.unanswered = None  # when the first HELLO without an answer was sent
        self.smoothed = self.variation = None

    @property
    def rto(self):
        """The wait before a repetition, in seconds."""
        return 0.1 if self.smoothed is None else min(1.0, max(0.02, self.smoothed + 4 * self.variation))

    def send(self, kind, to=None, **fields):
        self.number += 1
        header = b"\x01" + self.number.to_bytes(8, "big") + (to or self.their_boot).to_bytes(8, "big")
        self.sock.sendto(header + msgpack.packb({kind: fields}), self.to)

    def hello(self, to, **answer):
        self.send("HELLO", to, node=self.node, boot=self.boot, echo=to, t=time.monotonic_ns(), **answer)

    def tick(self):
        """Sends HELLO every 2 s while the link is up, every second while it is not; finds that it is down."""
        now = time.monotonic()
        late = now - self.unanswered / 1e9 > 4.5 if self.unanswered else False
        if late if self.is_up else self.their_boot and now - self.heard > 6.5:
            if self.is_up:
                print("link down", flush=True)
            self.their_boot, self.is_up, self.unanswered, self.since = 0, False, None, time.monotonic_ns()
        wait = 1 if not self.is_up else max(0.25, self.rto) if self.unanswered else 2
        if now - self.greeted >= wait:
            self.greeted = now
            if self.is_up and self.unanswered is None:
                self.unanswered = time.monotonic_ns()
            self.hello(self.their_boot)

    def receive(self):
        """Yields the messages of one datagram, except HELLO, as (kind, fields)."""
        data, sender = self.sock.recvfrom(2048)
        boot = int.from_bytes(data[9:17], "big")
        if sender[:2] != self.to or not 17 <= len(data) <= 1200 or data[0] != 1:
            return
        if boot not in (0, self.boot):
            return self.hello(self.their_boot)
        unpacker = msgpack.Unpacker()
        unpacker.feed(data[17:])
        messages = [item for message in unpacker for item in message.items()]
        for kind, fields in messages:
            if kind == "HELLO":
                self.on_hello(fields, fields["echo"] == boot == self.boot)
            elif boot == self.boot and self.is_up:
                yield kind, fields

    def on_hello(self, hello, echoes):
        theirs = hello["boot"]
        if theirs == 0 or hello["node"] == self.node:
            return
        answered = hello.get("et") if echoes else None
        proven = answered is not None and answered >= self.since
        learned = echoes and theirs != self.their_boot if self.is_up else proven or not self.their_boot
        if learned or not self.is_up:
            self.their_boot, self.heard = theirs, time.monotonic()
        if learned and (proven or self.is_up):
            self.is_up, self.unanswered, self.smoothed = True, None, None
            print("link up", flush=True)
        if self.is_up and answered is not None and theirs == self.their_boot:
            if self.unanswered and answered >= self.unanswered:
                self.unanswered = None
            trip = (time.monotonic_ns() - answered) / 1e9
            if self.smoothed is None:
                self.smoothed, self.variation = trip, trip / 2
            self.variation += (abs(self.smoothed - trip) - self.variation) / 4
            self.smoothed += (trip - self.smoothed) / 8
        if hello.get("et") is None or learned:
            self.hello(theirs, et=hello["t"])


class Answers:
    """The instances of the neighbor's queries (7.3). Without another link, none has a subquery."""

    def __init__(self, link, records):
        self.link, self.records = link, records
        self.instances = {}  # (id, ttl): hits, DONE, when to forget them
        self.ids = {}  # id: highest ttl of a copy without a tree, or None; when to forget it

    def on_query(self, query):
        now, key = time.monotonic(), (query["id"], query["ttl"])
        kept = now + min(query["budget"], 60_000) / 1000 + 1 + 8 * self.link.rto
        self.instances = {k: v for k, v in self.instances.items() if v[2] > now}
        self.ids = {k: v for k, v in self.ids.items() if v[1] > now}
        if key not in self.instances:
            self.instances[key] = (*self.answer(query), kept)
        hits, done, _ = self.instances[key]
        for n, record in enumerate(hits):
            if not any(first <= n < end for first, end in query.get("have") or []):
                file = {field: record[field] for field in "psr"}
                self.link.send("HIT", id=query["id"], ttl=query["ttl"], n=n, f=file, a=record["a"])
        self.link.send("DONE", id=query["id"], ttl=query["ttl"], **done)

    def answer(self, query):
        """The hits and the DONE of a copy that is no repetition."""
        name, find, is_tree_query = query["id"], query["find"], query.get("tree") is not None
        ttl = None if is_tree_query else min(query["ttl"], TTL_MAX)
        known = name in self.ids
        best = self.ids.get(name, (None,))[0]
        if known and not any(key[0] == name for key in self.instances):
            return [], {"hits": 0, "reached": 0, "cut": {"budget": 1}}
        ttl_best = max(best or 0, ttl or 0) if not is_tree_query or best is not None else None
        self.ids[name] = (ttl_best, time.monotonic() + 120)
        if known and (is_tree_query or best is not None):
            # A duplicate, or an extension that finds no link to ask.
            return [], {"hits": 0, "reached": 0, "dup": True}
        if known and not query.get("again"):
            # The flood after a tree query, which has searched here already.
            return [], {"hits": 0, "reached": 0}
        found = [fits(find, record) for record in self.records]
        if None in found:
            return [], {"hits": 0, "reached": 0, "cut": {"shed": 1}}
        hits = [record for record, yes in zip(self.records, found) if yes]
        limit = min(find.get("limit", HITS_MAX), HITS_MAX)
        cut = {"stale": int(is_tree_query), "cap": int(len(hits) > limit)}
        return hits[:limit], {"hits": len(hits[:limit]), "reached": 1, "cut": cut}

    def on_cancel(self, cancel):
        key = (cancel["id"], cancel["ttl"])
        if key in self.instances:
            self.instances[key] = ([], {"hits": 0, "reached": 0, "cut": {"loss": 1}}, self.instances[key][2])


class Subquery:
    """A query of our own over the link (7.4)."""

    def __init__(self, link, pattern, ttl=7, budget=2.0):
        self.link, self.id, self.ttl = link, os.urandom(16), ttl - 1
        self.find = {"q": pattern, "k": "words"}
        self.end = time.monotonic() + budget
        self.hits, self.done, self.pending, self.wait = {}, None, False, link.rto
        self.send()

    def send(self, **have):
        left = max(0.0, self.end - time.monotonic())
        budget = int(1000 * (left - min(4 * self.link.rto, left / 8)))
        self.link.send("QUERY", id=self.id, ttl=self.ttl, hops=1, budget=budget, find=self.find, **have)
        self.repeat_at = time.monotonic() + self.wait

    def on_message(self, kind, fields):
        if (fields["id"], fields["ttl"]) != (self.id, self.ttl):
            return
        if kind == "HIT" and fields["n"] < HITS_MAX:
            self.hits[fields["n"]] = fields
        elif kind == "PENDING" and not self.pending:
            self.pending, self.wait = True, 4 * self.link.rto
            self.repeat_at = time.monotonic() + self.wait
        elif kind == "DONE" and self.done is None:
            self.done, self.wait = fields, self.link.rto
            self.repeat_at = time.monotonic() + self.wait / 2

    def is_over(self):
        """Repeats the QUERY when that is due; prints the result when the subquery is closed."""
        now, complete = time.monotonic(), False
        if self.done:
            complete = all(n in self.hits for n in range(min(self.done["hits"], HITS_MAX)))
        if not complete and now < self.end:
            if now >= self.repeat_at:
                self.wait = min(2 * self.wait, (12 if self.pending else 8) * self.link.rto)
                self.send(have=[[n, n + 1] for n in sorted(self.hits)[:40]])
            return False
        for _, hit in sorted(self.hits.items()):
            print(f"hit {hit['f']['r'].hex()} {hit['f']['s']} {hit['a']} {hit['f']['p']!r}")
        done = self.done or {}
        cut = {reason: count for reason, count in (done.get("cut") or {}).items() if count}
        if not complete:
            reason = "loss" if self.done or self.hits or self.pending else "budget"
            cut[reason] = cut.get(reason, 0) + 1
        print(f"done {len(self.hits)} hits, {1 + done.get('reached', 0)} super peers, cut {cut}", flush=True)
        return True


def address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main(args):
    if len(args) < 2 or len(args) % 4 != 2:
        sys.exit(__doc__)
    files = [args[i:i + 4] for i in range(2, len(args), 4)]
    records = [{"p": name, "s": int(size), "r": bytes.fromhex(root), "a": addr} for name, size, root, addr in files]
    link = Link(address(args[0]), address(args[1]))
    answers, subquery, lines = Answers(link, records), None, b""
    while True:
        link.tick()
        if subquery and subquery.is_over():
            subquery = None
        if b"\n" in lines and link.is_up and subquery is None:
            pattern, _, lines = lines.partition(b"\n")
            subquery = Subquery(link, pattern.decode())
        ready, _, _ = select.select([link.sock, 0], [], [], 0.01 if subquery else 0.2)
        if 0 in ready:
            read = os.read(0, 4096)
            if not read:
                return
            lines += read
        for kind, fields in link.receive() if link.sock in ready else ():
            if kind == "QUERY":
                answers.on_query(fields)
            elif kind == "CANCEL":
                answers.on_cancel(fields)
            elif subquery and kind in ("HIT", "DONE", "PENDING"):
                subquery.on_message(kind, fields)


if __name__ == "__main__":
    main(sys.argv[1:])
