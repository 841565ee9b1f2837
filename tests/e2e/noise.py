"""The handshake and the sealed datagrams of links (PROTOCOL.md 6.5 and 6.6) with the standard library alone.

It is written from the text and independent of the program. It is slow, and not in constant time: for tests only.
"""
import hashlib
import hmac
import struct

P = 2**255 - 19
PROLOGUE, CHECK_LABEL = b"sprat 1 link", b"sprat 1 link check"
NAME = b"Noise_IK_25519_ChaChaPoly_BLAKE2s"


def x25519(scalar, u=(9).to_bytes(32, "little")):
    """RFC 7748, 5."""
    k = int.from_bytes(scalar, "little") & ~7 & ~(128 << 8 * 31) | 64 << 8 * 31
    x1 = int.from_bytes(u, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap != bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def secret_of(seed):
    """The X25519 form of an Ed25519 seed."""
    return hashlib.sha512(seed).digest()[:32]


def public_of(key):
    """The X25519 form of an Ed25519 public key."""
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    return ((1 + y) * pow(1 - y, P - 2, P) % P).to_bytes(32, "little")


def chacha20(key, counter, nonce):
    """One block (RFC 8439, 2.3)."""
    state = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    work = state[:]

    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            work[x] = work[x] + work[y] & 0xFFFFFFFF
            mixed = work[z] ^ work[x]
            work[z] = (mixed << turn | mixed >> 32 - turn) & 0xFFFFFFFF

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(work, state)))


def poly1305(key, text):
    """RFC 8439, 2.5."""
    r, s = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF, int.from_bytes(key[16:], "little")
    total = 0
    for at in range(0, len(text), 16):
        total = (total + int.from_bytes(text[at:at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return (total + s & 2**128 - 1).to_bytes(16, "little")


def seal(key, number, text, more=b""):
    """ChaCha20-Poly1305 with the nonce of Noise."""
    nonce = bytes(4) + struct.pack("<Q", number)
    stream = b"".join(chacha20(key, 1 + block, nonce) for block in range((len(text) + 63) // 64))
    sealed = bytes(a ^ b for a, b in zip(text, stream))
    padded = more + bytes(-len(more) % 16) + sealed + bytes(-len(sealed) % 16)
    return sealed + poly1305(chacha20(key, 0, nonce)[:32], padded + struct.pack("<QQ", len(more), len(sealed)))


def blake2s(data, **options):
    return hashlib.blake2s(data, **options).digest()


def hkdf(chain, data):
    """Two outputs (Noise, 4.3)."""
    secret = hmac.digest(chain, data, "blake2s")
    first = hmac.digest(secret, b"\x01", "blake2s")
    return first, hmac.digest(secret, first + b"\x02", "blake2s")


class Symmetric:
    """The SymmetricState of Noise (5.2)."""

    def __init__(self, responder_public):
        self.chain = self.hash = blake2s(NAME)
        self.key, self.number = None, 0
        self.mix_hash(PROLOGUE)
        self.mix_hash(responder_public)

    def mix_hash(self, data):
        self.hash = blake2s(self.hash + data)

    def mix_key(self, data):
        self.chain, self.key = hkdf(self.chain, data)
        self.number = 0

    def encrypt(self, text):
        sealed = seal(self.key, self.number, text, self.hash)
        self.number += 1
        self.mix_hash(sealed)
        return sealed


def with_check(message, receiver_public):
    key = blake2s(CHECK_LABEL + receiver_public)
    return message + blake2s(message, key=key, digest_size=16)


def handshake(initiator, responder, counter):
    """Each side has `seed`, `key`, `index` and `ephemeral`. Returns the two messages and the two keys for sending."""
    i, r = ({**side, "secret": secret_of(side["seed"]), "public": public_of(side["key"])} for side in (initiator, responder))
    for side in (i, r):
        assert x25519(side["secret"]) == side["public"], "the secret belongs to the key"
    noise = Symmetric(r["public"])
    e = x25519(i["ephemeral"])
    noise.mix_hash(e)
    noise.mix_key(x25519(i["ephemeral"], r["public"]))
    static = noise.encrypt(i["public"])
    noise.mix_key(x25519(i["secret"], r["public"]))
    payload = noise.encrypt(struct.pack(">Q", counter) + i["key"])
    first = with_check(b"\x02\x01" + struct.pack(">I", i["index"]) + e + static + payload, r["public"])
    e = x25519(r["ephemeral"])
    noise.mix_hash(e)
    noise.mix_key(x25519(r["ephemeral"], x25519(i["ephemeral"])))
    noise.mix_key(x25519(r["ephemeral"], i["public"]))
    empty = noise.encrypt(b"")
    second = with_check(b"\x02\x02" + struct.pack(">II", r["index"], i["index"]) + e + empty, i["public"])
    return first, second, *hkdf(noise.chain, b"")


def sealed(key, index, number, body):
    """A datagram for the receiver that calls the keys `index`."""
    return b"\x03" + struct.pack(">IQ", index, number) + seal(key, number, body)
