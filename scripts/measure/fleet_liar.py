"""A peer of scripts/measure/fleet that registers a content, announces all of its pieces, and sends
garbage with the right MD5.

    fleet_liar.py SUPER_HOST OWN_HOST PORT NAME SIZE ROOT_HEX
"""
import hashlib
import os
import socket
import struct
import sys
import threading

from common import Session, pack, unpack


def frames(sock):
    buffer = b""
    while True:
        while len(buffer) >= 4 and len(buffer) >= 4 + int.from_bytes(buffer[:4], "big"):
            end = 4 + int.from_bytes(buffer[:4], "big")
            ((kind, fields),) = unpack(buffer, 4)[0].items()
            yield kind, fields
            buffer = buffer[end:]
        part = sock.recv(1 << 16)
        if not part:
            return
        buffer += part


def serve(sock, host, port):
    def send(kind, more=b"", **fields):
        body = pack({kind: fields})
        sock.sendall(struct.pack(">I", len(body)) + body + more)

    try:
        for kind, fields in frames(sock):
            if kind == "HELLO":
                send("WELCOME", v=[1, 0], node=NODE, boot=BOOT, feat=["swarm"], ping=60000, frame=65536, addr=f"{host}:{port}")
            elif kind == "FOLLOW":
                send("HAS", req=fields["req"], full=True, mf=False)
            elif kind == "WANT":
                for _ in range(fields["n"]):
                    send("TURN", req=fields["req"])
            elif kind == "MANIFEST":
                send("ERROR", code=3, message="no manifest", req=fields["req"])
            elif kind == "GET":
                garbage = os.urandom(fields["len"])
                send("CHUNK", garbage, req=fields["req"], off=fields["off"], len=fields["len"], md5=hashlib.md5(garbage).digest())
            elif kind == "BYE":
                return
    except OSError:
        pass
    finally:
        sock.close()


NODE, BOOT = os.urandom(16), int.from_bytes(os.urandom(8), "big")


def main():
    super_host, host, port, name, size, root = sys.argv[1:]
    listener = socket.create_server((host, int(port)))
    session = Session(super_host)
    session.send("REGISTER", seq=1, port=int(port), files=[{"p": name, "s": int(size), "r": bytes.fromhex(root)}], more=False)
    session.expect("ACK")
    print("ready", flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, host, int(port)), daemon=True).start()


if __name__ == "__main__":
    main()
