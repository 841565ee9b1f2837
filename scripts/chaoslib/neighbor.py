"""A neighbor of a super peer, under the control of a test: it keeps the link up, notes what arrives,
and answers or does not answer, as its input says.
"""
import os
import socket
import threading
import time

from .wire import datagram, messages_of

GREET_SECONDS = 1.0


class Neighbor:
    """`answer(kind, fields)` returns the messages to send for one that arrived; None: never any. With
    `spare_time` it gets only the processor time that nobody else wants."""

    def __init__(self, answer=None, host="127.0.0.1", spare_time=False):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.bind((host, 0))
        self.sock.settimeout(0.2)
        self.addr = "{}:{}".format(*self.sock.getsockname())
        self.host = host
        self.answer = answer
        self.node, self.boot = os.urandom(16), int.from_bytes(os.urandom(8), "big") | 1
        self.theirs = 0
        self.bytes_in = self.bytes_out = 0
        self.counts = {}
        self.running = True
        self.spare_time = spare_time

    def reserve(self):
        """An address for the super peer, which must be known before the link exists."""
        for _ in range(100):
            with socket.socket() as tcp:
                tcp.bind((self.host, 0))
                port = tcp.getsockname()[1]
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                    try:
                        udp.bind((self.host, port))
                        return f"{self.host}:{port}"
                    except OSError:
                        pass
        raise OSError("no free port")

    def start(self, home):
        host, _, port = home.rpartition(":")
        self.to = (host, int(port))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        self.running = False
        self.thread.join()
        self.sock.close()

    def send(self, *messages):
        self.send_raw(datagram(self.theirs, *messages))

    def send_raw(self, data):
        self.bytes_out += len(data)
        self.sock.sendto(data, self.to)

    def hello(self, **more):
        return "HELLO", {"node": self.node, "boot": self.boot, "echo": self.theirs, "t": int(time.monotonic() * 1e6), **more}

    def run(self):
        if self.spare_time:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        greeted = 0.0
        while self.running:
            now = time.monotonic()
            if now - greeted > GREET_SECONDS:
                greeted = now
                self.send(self.hello())
            try:
                data = self.sock.recv(2048)
            except (socket.timeout, ConnectionError):
                continue
            self.bytes_in += len(data)
            for kind, fields in messages_of(data)[1]:
                self.counts[kind] = self.counts.get(kind, 0) + 1
                if kind == "HELLO":
                    self.theirs = fields["boot"]
                    if "et" not in fields:
                        self.send(self.hello(et=fields["t"]))
                elif self.answer:
                    messages = self.answer(kind, fields)
                    if messages:
                        self.send(*messages)
