"""Lines of the attack table: datagrams of strangers, and repeated datagrams of a neighbor."""
import os
import random
import socket
import time

from .neighbor import Neighbor
from .wire import datagram
from .world import ask, wait_for

STRANGE, REPLAYED = 20_000, 2_000
AMPLIFICATION_MAX = 3.0


def query(query_id, **more):
    return "QUERY", {"id": query_id, "ttl": 6, "hops": 1, "budget": 30_000, "find": {"q": "*", "k": "glob"}, **more}


def hello(boot, echo):
    return "HELLO", {"node": os.urandom(16), "boot": boot, "echo": echo, "t": 1}


def strangers(world, table, _rounds):
    """Every kind of datagram from an address that is not a neighbor."""
    neighbor = Neighbor()
    home = world.super("home", "--neighbor", neighbor.addr, listen=neighbor.reserve())
    neighbor.start(home.addr)
    wait_for("the link is up", lambda: world.counts(home.addr)["links_up"] == 1)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    host, _, port = home.addr.rpartition(":")
    pick = random.Random(1)
    sent = 0
    for n in range(STRANGE):
        boot = pick.choice([0, 1, neighbor.theirs])
        data = pick.choice([datagram(boot, hello(n + 1, boot)), datagram(boot, query(os.urandom(16))), pick.randbytes(pick.randrange(1, 1200)),
                            datagram(boot, ("CANCEL", {"id": os.urandom(16), "ttl": 1}))])
        sent += len(data)
        sock.sendto(data, (host, int(port)))
        if n % 100 == 0:
            time.sleep(0.005)
    time.sleep(1)
    sock.setblocking(False)
    received = 0
    try:
        while True:
            received += len(sock.recv(2048))
    except BlockingIOError:
        pass
    counts = world.counts(home.addr)
    up, arrived = counts["links_up"], counts["datagrams_unlisted"]
    neighbor.stop()
    table.add(f"{STRANGE} datagrams of a stranger: arrived", "", arrived, f"≥ {STRANGE // 2}", arrived >= STRANGE // 2)
    table.add("… bytes back", "", received, "0", received == 0, f"{sent} bytes sent")
    table.add("… the link to the neighbor stays up", "", up, "1", up == 1)


def replays(world, table, _rounds):
    """Datagrams of a neighbor that arrive again and again."""
    neighbor = Neighbor()
    home = world.super("home", "--neighbor", neighbor.addr, listen=neighbor.reserve())
    registrar = world.tool("registrar", home.addr)
    ask(registrar, '{"records": 20000, "path_bytes": 400}')
    neighbor.start(home.addr)
    wait_for("the link is up", lambda: world.counts(home.addr)["links_up"] == 1)
    for name, message in [("QUERY without `have`", query(os.urandom(16))), ("QUERY with empty `have`", query(os.urandom(16), have=[])),
                          ("QUERY that has all", query(os.urandom(16), have=[[0, 2000]])), ("HELLO", neighbor.hello())]:
        data = datagram(neighbor.theirs, message)
        neighbor.send_raw(data)
        time.sleep(2)
        before_in, before_out = neighbor.bytes_in, neighbor.bytes_out
        for n in range(REPLAYED):
            neighbor.send_raw(data)
            if n % 50 == 0:
                time.sleep(0.01)
        time.sleep(1)
        came, went = neighbor.bytes_in - before_in, neighbor.bytes_out - before_out
        table.add(f"{REPLAYED} replays of a {name}: bytes out / bytes in", "", f"{came / went:.2f}", f"≤ {AMPLIFICATION_MAX:.0f}", came <= AMPLIFICATION_MAX * went)
    neighbor.stop()


LINES = {"strangers": strangers, "replays": replays}
