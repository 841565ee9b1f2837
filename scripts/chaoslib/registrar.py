"""Sessions that register the records of their input, true or false: a process that reads lines of
JSON and answers each with one.

    python3 -m chaoslib.registrar ADDR

    {"records": N, "path_bytes": N, "salt": TEXT}    one session registers N made-up records
    {"files": [[path, size, root]], "hosts": [[host, port]]}    one session per host registers these
    {"leave": true}                                  all sessions close

Sessions stay open until they leave or its input ends; PINGs are sent in time.
"""
import hashlib
import json
import os
import socket
import sys
import threading
import time

from .wire import Frames, frame
from .world import raise_descriptors

PAGE_BYTES = 56 * 1024


class Session:
    def __init__(self, addr):
        host, _, port = addr.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=60)
        self.frames, self.waiting = Frames(), []
        self.seq = 0
        self.sock.sendall(frame("HELLO", v=[1, 0], node=os.urandom(16), boot=7) + frame("LOGIN", mode="open"))
        self.expect("READY")

    def expect(self, wanted):
        while True:
            while self.waiting:
                kind, fields = self.waiting.pop(0)
                if kind == "ERROR":
                    raise ConnectionError(f"ERROR {fields}")
                if kind == wanted:
                    return fields
            data = self.sock.recv(1 << 16)
            if not data:
                raise ConnectionError("closed")
            self.waiting += self.frames.feed(data)

    def page(self, files, more, host, port):
        self.seq += 1
        records = [{"p": path, "s": size, "r": root} for path, size, root in files]
        self.sock.sendall(frame("REGISTER", seq=self.seq, port=port, host=host, files=records, more=more or None))

    def register(self, pages, host=None, port=4778):
        """Sends the pages four at a time."""
        acked, page = 0, next(pages, [])
        while page is not None:
            following = next(pages, None)
            self.page(page, following is not None, host, port)
            page = following
            if self.seq - acked >= 4:
                self.expect("ACK")
                acked += 1
        while acked < self.seq:
            files = self.expect("ACK")["files"]
            acked += 1
        return files


def made_up(count, path_bytes, salt):
    """Pages of records with words in their names."""
    page, size = [], 0
    for n in range(count):
        path = f"{salt}/common {n % 997} of {n}.bin"
        path += "x" * (path_bytes - len(path))
        page.append((path, n + 1, hashlib.blake2s(path.encode()).digest()))
        size += len(path) + 60
        if size > PAGE_BYTES:
            yield page
            page, size = [], 0
    yield page


def main(addr):
    sessions = []

    def keep():
        while True:
            time.sleep(20)
            for session in list(sessions):
                try:
                    session.sock.sendall(frame("PING", n=1))
                    session.sock.recv(1 << 16)
                except OSError:
                    pass

    threading.Thread(target=keep, daemon=True).start()
    for line in sys.stdin:
        task = json.loads(line)
        try:
            if task.get("leave"):
                for session in sessions:
                    session.sock.close()
                sessions.clear()
                answer = {"sessions": 0}
            elif "records" in task:
                session = Session(addr)
                files = session.register(made_up(task["records"], task.get("path_bytes", 0), task.get("salt", "made up")))
                sessions.append(session)
                answer = {"files": files}
            else:
                files = [(path, size, bytes.fromhex(root)) for path, size, root in task["files"]]
                for host, port in task["hosts"]:
                    session = Session(addr)
                    session.register(iter([files]), host, port)
                    sessions.append(session)
                answer = {"sessions": len(sessions)}
        except (OSError, ConnectionError) as error:
            answer = {"error": str(error), "sessions": len(sessions)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    raise_descriptors()
    main(sys.argv[1])
