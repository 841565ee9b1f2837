"""The rivals of scripts/measure/fleet: each starts a seed and fetchers of one torrent, and reports
when each fetcher has the file. A small tracker introduces them. All seed on after they finish;
DHT, local discovery, uTP and encryption are off; pieces have 1 MiB.

As a program, in the namespace of its peer:

    fleet_rivals.py tracker HOST PORT
    fleet_rivals.py libtorrent seed|get stock|tuned|super TORRENT FOLDER HOST PORT
"""
import hashlib
import http.server
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.parse

PIECE = 1 << 20


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


def torrent(file, announce, to):
    """Writes the torrent of a file."""
    data = file.read_bytes()
    pieces = b"".join(hashlib.sha1(data[at:at + PIECE]).digest() for at in range(0, len(data), PIECE))
    info = {"length": len(data), "name": file.name, "piece length": PIECE, "pieces": pieces}
    to.write_bytes(bencode({"announce": announce, "info": info}))


class Tracker(http.server.BaseHTTPRequestHandler):
    """Names all peers to each, at most 50, and asks them to come again soon."""

    peers = {}

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query, encoding="latin-1")
        me = (self.client_address[0], int(query["port"][0]))
        known = Tracker.peers.setdefault(query["info_hash"][0], {})
        known[me] = known.pop(me, None)
        others = [peer for peer in known if peer != me][-50:]
        packed = b"".join(socket.inet_aton(host) + struct.pack(">H", port) for host, port in others)
        body = bencode({"interval": 2, "min interval": 1, "complete": 1, "incomplete": len(known), "peers": packed})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def tracker(host, port):
    http.server.ThreadingHTTPServer((host, int(port)), Tracker).serve_forever()


def libtorrent_peer(role, form, file, folder, host, port):
    import libtorrent

    settings = {
        "listen_interfaces": f"{host}:{port}", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "in_enc_policy": 2, "out_enc_policy": 2, "enable_outgoing_utp": False,
        "enable_incoming_utp": False, "alert_mask": 0, "min_announce_interval": 1, "active_seeds": -1,
    }
    if form != "stock":
        settings |= {"unchoke_slots_limit": -1, "max_out_request_queue": 2000, "request_queue_time": 3,
                     "send_buffer_watermark": 1 << 20, "connections_limit": 500}
    session = libtorrent.session(settings)
    flags = libtorrent.torrent_flags.auto_managed * 0
    if role == "seed":
        flags |= libtorrent.torrent_flags.seed_mode
        if form == "super":
            flags |= libtorrent.torrent_flags.super_seeding
    handle = session.add_torrent({"ti": libtorrent.torrent_info(file), "save_path": folder, "flags": flags})
    done = False
    while True:
        if not done and handle.status().is_seeding:
            done = True
            print("done", flush=True)
        time.sleep(0.02)


# ---- how each is started ------------------------------------------------------------------------

class Rival:
    """A program that fetches the torrent. `command(host, role)` is run in the host's namespace."""

    def __init__(self, name, command, watch="output"):
        self.name, self.command, self.watch = name, command, watch


def rivals():
    """Those that are installed, and the names of those that are not."""
    found, missing = [], []
    me = os.path.abspath(__file__)

    def libtorrent(form):
        return lambda host, role: ["/usr/bin/python3", me, "libtorrent", role, form, str(host.torrent), str(host.folder(role)),
                                   host.ip, "6881"]

    try:
        subprocess.run(["/usr/bin/python3", "-c", "import libtorrent"], check=True, capture_output=True)
        found += [Rival(f"libtorrent {form}", libtorrent(form)) for form in ("stock", "tuned", "super")]
    except (subprocess.SubprocessError, OSError):
        missing.append("libtorrent (apt-get install python3-libtorrent)")
    for name, add, package in [("aria2c", aria2c, "aria2"), ("transmission-daemon", transmission, "transmission-daemon")]:
        if shutil.which(name):
            found += add()
        else:
            missing.append(f"{name} (apt-get install {package})")
    rqbit_bin = shutil.which("rqbit") or os.path.expanduser(os.environ.get("RQBIT", "~/.cache/sprat-rivals/bin/rqbit"))
    if os.access(rqbit_bin, os.X_OK):
        found += rqbit(rqbit_bin)
    else:
        missing.append("rqbit (RQBIT=PATH; scripts/compare/transfer builds one)")
    return found, missing


def aria2c():
    def command(more):
        def start(host, role):
            hook = host.hook()
            return ["aria2c", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
                    "--seed-time=600", "--seed-ratio=0", "--listen-port=6881", "--bt-tracker-interval=2", "--summary-interval=0",
                    "--console-log-level=error", "--file-allocation=none", "--allow-overwrite=true",
                    f"--on-bt-download-complete={hook}", f"--check-integrity={'true' if role == 'seed' else 'false'}",
                    f"--dir={host.folder(role)}", *more, str(host.torrent)]
        return start
    tuned = ["--bt-request-peer-speed-limit=1G", "--bt-max-peers=0", "--bt-max-open-files=200"]
    return [Rival("aria2c stock", command([]), "hook"), Rival("aria2c tuned", command(tuned), "hook")]


def transmission():
    def command(more):
        def start(host, role):
            home = host.dir / f"transmission-{role}"
            home.mkdir(exist_ok=True)
            settings = {"dht-enabled": False, "lpd-enabled": False, "pex-enabled": False, "utp-enabled": False, "encryption": 0,
                        "port-forwarding-enabled": False, "peer-port": 6881, "rpc-enabled": False, "watch-dir-enabled": True,
                        "watch-dir": str(home), "download-dir": str(host.folder(role)), "incomplete-dir-enabled": False,
                        "script-torrent-done-enabled": True, "script-torrent-done-filename": str(host.hook()),
                        "ratio-limit-enabled": False, "idle-seeding-limit-enabled": False, "start-added-torrents": True,
                        "trash-original-torrent-files": False, **more}
            (home / "settings.json").write_text(json.dumps(settings))
            shutil.copy(host.torrent, home / "file.torrent")
            return ["transmission-daemon", "-f", "-g", str(home), "--no-portmap"]
        return start
    tuned = {"upload-slots-per-torrent": 50, "peer-limit-per-torrent": 100, "peer-limit-global": 500}
    return [Rival("transmission stock", command({}), "hook"), Rival("transmission tuned", command(tuned), "hook")]


def rqbit(binary):
    def start(host, role):
        return [binary, "-v", "error", "--disable-dht", "--disable-lsd", "--listen-ip", host.ip, "--listen-port", "6881",
                "--http-api-listen-addr", f"{host.ip}:3030", "download", "--overwrite", "-o", str(host.folder(role)), str(host.torrent)]
    return [Rival("rqbit", start, "file")]


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "tracker":
        tracker(*rest)
    else:
        libtorrent_peer(*rest)
