"""Reads every vector of PROTOCOL.md with another MessagePack library than ours, and runs its code for chaining values.

Prints how many vectors agreed with their JSON.
"""
import json
import re
import struct
import sys
import urllib.parse

import msgpack
import noise


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


def check_chaining_values(document):
    """The code of the text gives the values of the text: of a short piece, and of the last piece of a content."""
    text = {"struct": struct}
    for code in re.findall(r"^```python\n(.*?)^```$", document, re.M | re.S):
        exec(code, text)
    (short,) = re.findall(r'^```vector cv\n{"bytes": "616263", "piece": 1}\n(.*?)\n```$', document, re.M | re.S)
    assert text["chaining_value"](b"abc", 1) == bytes.fromhex(short)
    (size, digits), = re.findall(r'^```vector tree\n{"size": (\d+)}\n(.*?)\n```$', document, re.M | re.S)
    root, *values = [bytes.fromhex(line) for line in digits.split("\n")]
    last = bytes(k % 251 for k in range((len(values) - 1) << 20, int(size)))
    assert text["chaining_value"](last, len(values) - 1) == values[-1]
    assert text["merge"](values) == root
    assert text["subtree"](b"", 0, text["ROOT"]).hex().startswith("af1349b9f5f9a1a6")


def check_collections_and_uris(document):
    """The values of a collection, and a URI by the quoting of the standard library."""
    found = re.findall(r"^```vector (collection|uri)\n(.*?)\n```$", document, re.M | re.S)
    assert {how for how, _ in found} == {"collection", "uri"}
    for how, body in found:
        text, digits = body.split("\n", 1)
        wanted, data = json.loads(text), bytes.fromhex(digits.replace("\n", " "))
        if how == "collection":
            files = [[file["path"], file["size"], file["root"], file["executable"]] for file in wanted["files"]]
            assert messages(data) == [{"sprat": "collection", "v": 1}, *files], wanted
        else:
            pins = [f"{one['key']}@{one['addr']}" if "key" in one else one["addr"] for one in wanted["supers"]]
            fields = [("super", pin) for pin in pins] + [("name", wanted["name"])]
            fields = "".join(f",{key}={urllib.parse.quote(value, safe=':@')}" for key, value in fields)
            assert data.decode() == f"sprat:{wanted['root']},size={wanted['size']}{fields}", wanted


def check_handshake(document):
    """The handshake of a link and the first datagrams under its keys, by another implementation of Noise."""
    (body,) = re.findall(r"^```vector handshake\n(.*?)\n```$", document, re.M | re.S)
    text, digits = body.split("\n", 1)
    wanted, data = json.loads(text), bytes.fromhex(digits.replace("\n", " "))
    sides = [{name: value if name == "index" else bytes.fromhex(value) for name, value in wanted[side].items()} for side in ("initiator", "responder")]
    first, second, *keys = noise.handshake(*sides, wanted["counter"])
    bodies = map(bytes.fromhex, wanted["bodies"])
    sealed = [noise.sealed(key, to["index"], 0, body) for key, to, body in zip(keys, reversed(sides), bodies)]
    assert (len(first), len(second)) == (158, 74)
    assert data == first + second + b"".join(sealed), "the handshake of the text"


document = open(sys.argv[1], encoding="utf-8").read()
check_chaining_values(document)
check_collections_and_uris(document)
check_handshake(document)
agreed = 0
for how, tags, body in re.findall(r"^```vector (frame|datagram)([^\n]*)\n(.*?)\n```$", document, re.M | re.S):
    text, digits = body.split("\n", 1)
    wanted, data = json.loads(text), bytes.fromhex(digits.replace("\n", " "))
    if how == "frame":
        assert int.from_bytes(data[:4], "big") == len(data) - 4, tags
        found = messages(data[4:])
        assert found == [wanted], f"{tags}: {found} is not {wanted}"
    else:
        number, boot = struct.unpack(">QQ", data[1:17])
        assert (data[0], number, boot) == (1, wanted["number"], wanted["boot"]), tags
        found = messages(data[17:])
        assert found == wanted["messages"], f"{tags}: {found} is not {wanted}"
    agreed += 1
print(agreed)
