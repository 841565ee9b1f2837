#!/usr/bin/env python3
"""A small sprat client, written from PROTOCOL.md. Needs python3 and msgpack (pip install msgpack), nothing of sprat.

    client.py SUPER query PATTERN         list the files that match, their sources, and whether the list is complete
    client.py SUPER get PATTERN FILE      fetch the first match into FILE, and check the MD5 of each chunk
    client.py SUPER share FILE ROOT       share a file of at most 1 MiB until stdin ends; ROOT is what `b3sum FILE` prints

SUPER is HOST:PORT of a super peer. In a network that takes a login (PROTOCOL.md 15):

    client.py --login DIR join                  read an invitation from stdin, make a key, and keep its credential in DIR
    client.py --login DIR SUPER query PATTERN   the same as above, with SUPER as KEY@HOST:PORT
    client.py --login DIR SUPER get PATTERN FILE

`openssl` makes the key. The ssl module of Python takes no certificate that it does not know, so it cannot share there.

The exit codes are those of sprat: 0 success, 3 no file matches, 5 refused, 6 wrong bytes, 7 no login.
"""
import base64
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.parse

import msgpack

MIB = 1 << 20
NODE, BOOT = os.urandom(16), int.from_bytes(os.urandom(8), "big")
# In login mode: the folder with the key and the credential.
LOGIN = None


class Refused(Exception):
    """The other side answered ERROR, or closed the connection."""


class WrongKey(Exception):
    """The other side proves another key than the expected one."""


def compressed(chain, block, flags):
    """The first 32 bytes that BLAKE3 makes of one block of at most 64 bytes, the first and last of its chunk."""
    words = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    state = list(chain) + IV[:4] + [0, 0, len(block), flags | 1 | 2 | 8]

    def mix(a, b, c, d, x, y):
        for word, turn, other in ((x, 16, 12), (y, 8, 7)):
            state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
            state[d] = turned(state[d] ^ state[a], turn)
            state[c] = (state[c] + state[d]) & 0xFFFFFFFF
            state[b] = turned(state[b] ^ state[c], other)

    for _ in range(7):
        for n, (a, b, c, d) in enumerate(MIXED):
            mix(a, b, c, d, words[2 * n], words[2 * n + 1])
        words = [words[n] for n in ORDER]
    return [state[n] ^ state[n + 8] for n in range(8)]


def turned(word, by):
    return (word >> by | word << 32 - by) & 0xFFFFFFFF


IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
MIXED = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]


def derived(context, material):
    """BLAKE3-derive-key of short inputs."""
    return struct.pack("<8I", *compressed(compressed(IV, context.encode(), 32), material, 64))


def node_of(key):
    return derived("sprat 1 node id of a public key", key)[:16]


def key_in(certificate):
    """The Ed25519 key in a certificate (15.7)."""
    _, found, rest = certificate.partition(bytes.fromhex("302a300506032b6570032100"))
    if not found:
        raise Refused("its certificate has no Ed25519 key")
    return rest[:32]


def key_of(text):
    """The key in its text (15.6)."""
    key = base64.b32decode(text[:52].upper() + "====")
    check = base64.b32encode(derived("sprat 1 check digits of a public key", key)).decode().lower()[:4]
    if text[52:].lower() != check:
        raise Refused("the key is damaged; copy it again")
    return key


class Login:
    """The key of this client, and its credential."""

    def __init__(self, folder):
        self.key_file, self.certificate, self.file = (os.path.join(folder, name) for name in ("key.pem", "cert.pem", "credential"))
        if not os.path.exists(self.certificate):
            os.makedirs(folder, 0o700, exist_ok=True)
            openssl = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True)
            openssl("genpkey", "-algorithm", "ed25519", "-out", self.key_file)
            openssl("req", "-x509", "-new", "-key", self.key_file, "-subj", "/CN=sprat", "-days", "36500", "-out", self.certificate)
        with open(self.certificate) as file:
            self.node = node_of(key_in(ssl.PEM_cert_to_DER_cert(file.read())))

    @property
    def credential(self):
        with open(self.file, "rb") as file:
            return file.read()

    def keep(self, credential):
        with open(self.file, "wb") as file:
            file.write(credential)

    def wrap(self, sock):
        """TLS 1.3 with the own certificate. The key of the other side is its identity, so no name or authority is checked."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.certificate, self.key_file)
        return context.wrap_socket(sock)


class Connection:
    """Frames on TCP: a u32 length, then one map {KIND: {fields}} (PROTOCOL.md 3.2)."""

    def __init__(self, sock):
        self.sock = sock

    @classmethod
    def dial(cls, address, node=None):
        """Connects, sends HELLO and reads WELCOME, as every connection begins (3.5). `node`: who must answer."""
        host, _, port = address.rpartition(":")
        conn = cls(socket.create_connection((host.strip("[]"), int(port)), timeout=10))
        if LOGIN:
            conn.sock = LOGIN.wrap(conn.sock)
            if node not in (None, node_of(key_in(conn.sock.getpeercert(binary_form=True)))):
                raise WrongKey(f"{address} proves another key than the expected one")
        conn.send("HELLO", v=[1, 0], node=LOGIN.node if LOGIN else NODE, boot=BOOT, agent="client.py/1")
        conn.welcome = conn.expect("WELCOME")
        return conn

    def login(self):
        """A session; in login mode a chunk connection too (15.2)."""
        if LOGIN:
            self.send("LOGIN", mode="login", cred=LOGIN.credential)
        else:
            self.send("LOGIN", mode="open")
        self.expect("READY")

    def read(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise Refused("the other side closed the connection")
            data += part
        return bytes(data)

    def send(self, kind, **fields):
        body = msgpack.packb({kind: fields})
        self.sock.sendall(struct.pack(">I", len(body)) + body)

    def receive(self):
        """The next message: its kind and its fields."""
        (length,) = struct.unpack(">I", self.read(4))
        if length > 65536:
            raise Refused(f"a frame of {length} bytes")
        ((kind, fields),) = msgpack.unpackb(self.read(length)).items()
        return kind, fields

    def expect(self, *wanted):
        """The next message of one of these kinds. Skips other kinds; raises Refused at ERROR and BYE."""
        while True:
            kind, fields = self.receive()
            if kind in ("ERROR", "BYE"):
                raise Refused(f"{kind} {fields}")
            if kind in wanted:
                return fields if len(wanted) == 1 else (kind, fields)


def dial_super(pin):
    """Connects to KEY@HOST:PORT, or HOST:PORT."""
    key, _, address = pin.rpartition("@")
    return Connection.dial(address, node_of(key_of(key)) if key else None)


def open_session(pin):
    conn = dial_super(pin)
    conn.login()
    return conn


def join(invitation):
    """Shows an invitation (15.9) and keeps the credential (15.3). Returns the pin of the super peer."""
    scheme, _, rest = invitation.strip().partition(":")
    pin, *fields = rest.split(",")
    fields = dict(field.split("=", 1) for field in fields)
    if scheme != "sprat-invite":
        sys.exit("this is no invitation")
    pin = urllib.parse.unquote(pin)
    conn = dial_super(pin)
    conn.send("ENROLL", user=fields["user"], token=base64.b32decode(fields["token"][:32].upper()))
    LOGIN.keep(conn.expect("ENROLLED")["cred"])
    conn.login()
    return pin


def kind_of(pattern):
    """The kind of search that sprat chooses for a pattern (4.6)."""
    if len(pattern) == 64 and all(c in "0123456789abcdefABCDEF" for c in pattern):
        return "root"
    return "glob" if any(c in pattern for c in "*?[") else "words"


def query(session, pattern):
    """Sends QUERY, reads HITs until DONE; returns the hits and the DONE."""
    session.send("QUERY", req=1, find={"q": pattern, "k": kind_of(pattern)})
    hits = []
    while True:
        kind, fields = session.expect("HIT", "DONE")
        if kind == "DONE":
            return hits, fields
        hits += fields["hits"]


def dial_source(hit):
    """Connects to a source at its first address, or else at its second one."""
    try:
        source = Connection.dial(hit["a"], hit.get("n"))
    except OSError:
        if "b" not in hit:
            raise
        source = Connection.dial(hit["b"], hit.get("n"))
    if LOGIN:
        source.login()
    return source


def fetch(hit, out):
    """Fetches a content from its source, chunk by chunk (5.3)."""
    source = dial_source(hit)
    offset = 0
    while offset < hit["s"]:
        length = min(MIB, hit["s"] - offset)
        source.send("GET", req=1, root=hit["r"], off=offset, len=length)
        chunk = source.expect("CHUNK")
        data = source.read(chunk["len"])
        if hashlib.md5(data).digest() != chunk["md5"] or len(data) != length:
            sys.exit(6)
        out.write(data)
        offset += length
        print(f"chunk at {chunk['off']}: {length} bytes, md5 {chunk['md5'].hex()} is right", file=sys.stderr)


def serve(sock, root, content):
    """Serves a chunk connection, with one content of at most one piece, which has no manifest."""
    conn = Connection(sock)
    try:
        conn.expect("HELLO")
        peer = "{}:{}".format(*sock.getpeername()[:2])
        conn.send("WELCOME", v=[1, 0], node=NODE, boot=BOOT, ping=30000, frame=65536, addr=peer)
        while True:
            kind, fields = conn.receive()
            if kind == "PING":
                conn.send("PONG", n=fields["n"])
            if kind not in ("GET", "MANIFEST"):
                continue
            req = fields["req"]
            if fields["root"] != root:
                conn.send("ERROR", code=3, message="no such content here", req=req)
            elif kind == "MANIFEST":
                conn.send("CVS", req=req, size=len(content), first=fields["first"], cvs=b"")
            elif not 0 < fields["len"] <= MIB or fields["off"] + fields["len"] > len(content):
                conn.send("ERROR", code=13, message="the range is not in the content", req=req)
            else:
                data = content[fields["off"]:fields["off"] + fields["len"]]
                conn.send("CHUNK", req=req, off=fields["off"], len=len(data), md5=hashlib.md5(data).digest())
                sock.sendall(data)
    except (Refused, OSError):
        sock.close()


def share(address, path, root):
    with open(path, "rb") as file:
        content = file.read()
    if len(content) > MIB:
        sys.exit("this client shares files of at most 1 MiB: it makes no manifest")
    session = open_session(address)
    here = session.sock.getsockname()[0]
    listener = socket.create_server((here, 0), family=session.sock.family)
    record = {"p": os.path.basename(path), "s": len(content), "r": root}
    session.send("REGISTER", seq=1, port=listener.getsockname()[1], files=[record])
    ack = session.expect("ACK")
    print(f"registered {ack['files']} file, served on {here}:{listener.getsockname()[1]}", flush=True)

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, root, content), daemon=True).start()

    def ping():
        """Sends PING before the super peer would close the session (4.2)."""
        while not done.wait(session.welcome["ping"] / 1000):
            session.send("PING", n=1)
            session.expect("PONG")

    done = threading.Event()
    threading.Thread(target=accept, daemon=True).start()
    threading.Thread(target=ping, daemon=True).start()
    sys.stdin.read()
    done.set()
    session.send("BYE", why="stdin ended")


def main(args):
    global LOGIN
    if args[:1] == ["--login"] and len(args) > 2:
        LOGIN, args = Login(args[1]), args[2:]
    if LOGIN and args == ["join"]:
        return print(join(sys.stdin.readline()))
    if LOGIN and "share" in args[1:2]:
        sys.exit("this client cannot share in login mode")
    if len(args) == 4 and args[1] == "share":
        return share(args[0], args[2], bytes.fromhex(args[3]))
    if not (len(args) == 3 and args[1] == "query" or len(args) == 4 and args[1] == "get"):
        sys.exit(__doc__)
    hits, done = query(open_session(args[0]), args[2])
    for hit in hits:
        print(f"{hit['r'].hex()}  {hit['s']:>12}  {hit['a']:<21}  {hit['p']!r}")
    answer = "complete" if done["complete"] else f"not complete, cut {done.get('cut')}"
    print(f"{len(hits)} hits, {done['reached']} super peers searched, {answer}, {done['ms']} ms")
    if not hits:
        sys.exit(3)
    if args[1] == "get":
        with open(args[3], "wb") as out:
            # Sources that their super peer has not reached come last.
            fetch(min(hits, key=lambda hit: hit.get("u", False)), out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WrongKey as error:
        print(error, file=sys.stderr)
        sys.exit(7)
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        # ERROR 7 and 14 to 17 refuse the login (3.4).
        sys.exit(7 if any(f"'code': {code}," in str(error) for code in (7, 14, 15, 16, 17)) else 5)
