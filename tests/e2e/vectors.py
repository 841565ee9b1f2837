"""Reads every vector of PROTOCOL.md with another MessagePack library than ours; prints how many agreed with their JSON."""
import json
import re
import sys

import msgpack


def plain(value):
    """Bytes as the text writes them."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def messages(data):
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return [plain(message) for message in unpacker]


agreed = 0
for how, tags, body in re.findall(r"^```vector (frame|datagram)([^\n]*)\n(.*?)\n```$", open(sys.argv[1]).read(), re.M | re.S):
    text, digits = body.split("\n", 1)
    wanted, data = json.loads(text), bytes.fromhex(digits.replace("\n", " "))
    if how == "frame":
        assert int.from_bytes(data[:4], "big") == len(data) - 4, tags
        found = messages(data[4:])
        assert found == [wanted], f"{tags}: {found} is not {wanted}"
    else:
        assert data[0] == 1 and int.from_bytes(data[1:9], "big") == wanted["boot"], tags
        found = messages(data[9:])
        assert found == wanted["messages"], f"{tags}: {found} is not {wanted}"
    agreed += 1
print(agreed)
