"""What the bytes mean, written from PROTOCOL.md and independent of the program: frames on TCP,
datagrams on UDP, and the part of the BLAKE3 tree that a manifest needs. No I/O.
"""
import itertools

import msgpack

NUMBERS = itertools.count()
PIECE = 1 << 20
FRAME_BYTES_MAX = 65_536


def frame(kind, **fields):
    """A message as a frame (3.2). A field that is None is left out."""
    body = msgpack.packb({kind: {key: value for key, value in fields.items() if value is not None}})
    return len(body).to_bytes(4, "big") + body


class Frames:
    """Bytes in, messages out. After a CHUNK its raw bytes are skipped, and counted in `raw`."""

    def __init__(self):
        self.buffer = bytearray()
        self.skip = 0
        self.raw = 0

    def feed(self, data):
        """The messages that are complete now, as (kind, fields)."""
        self.buffer += data
        messages = []
        while True:
            if self.skip:
                taken = min(self.skip, len(self.buffer))
                del self.buffer[:taken]
                self.skip -= taken
                self.raw += taken
                if self.skip:
                    return messages
            if len(self.buffer) < 4:
                return messages
            end = 4 + int.from_bytes(self.buffer[:4], "big")
            if len(self.buffer) < end:
                return messages
            ((kind, fields),) = msgpack.unpackb(bytes(self.buffer[4:end])).items()
            del self.buffer[:end]
            if kind == "CHUNK":
                self.skip = fields["len"]
            messages.append((kind, fields))


def datagram(boot, *messages):
    """A datagram for the receiver with this boot id (6.1). Each message is (kind, fields)."""
    return b"\x01" + next(NUMBERS).to_bytes(8, "big") + boot.to_bytes(8, "big") + b"".join(msgpack.packb({kind: fields}) for kind, fields in messages)


def messages_of(data):
    """The boot id in the header, and the messages."""
    unpacker = msgpack.Unpacker(raw=False)
    unpacker.feed(data[17:])
    return int.from_bytes(data[9:17], "big"), [next(iter(message.items())) for message in unpacker]


def pieces_of(size):
    return (size + PIECE - 1) // PIECE
