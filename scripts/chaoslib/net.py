"""Network namespaces that a bridge connects, with rates, losses and partitions. Needs root.

Each namespace is named after the id of the run. Rates are set with tbf, losses and partitions with
nftables, on datagrams and segments that arrive.
"""
import os
import subprocess


def run(*command, text=None):
    subprocess.run([str(part) for part in command], input=text, text=True, check=True)


class Space:
    """One namespace, with one address."""

    def __init__(self, name, ip):
        self.name, self.ip = name, ip
        self.prefix = ["ip", "netns", "exec", name]
        self.blocked, self.lost = (), 0

    def rate(self, bytes_per_second):
        """Limits what the namespace sends. None: no limit."""
        if bytes_per_second is None:
            subprocess.run(["ip", "netns", "exec", self.name, "tc", "qdisc", "del", "dev", "eth0", "root"], stderr=subprocess.DEVNULL, check=False)
        else:
            burst = max(16_000, bytes_per_second // 50)
            run("ip", "netns", "exec", self.name, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{bytes_per_second * 8}bit",
                "burst", f"{burst}b", "latency", "400ms")

    def block(self, ips):
        """Drops everything that arrives from these addresses."""
        self.blocked = tuple(ips)
        self.write_rules()

    def lose(self, percent):
        """Drops this part of everything that arrives, at random."""
        self.lost = percent
        self.write_rules()

    def write_rules(self):
        rules = [f"ip saddr {{ {', '.join(self.blocked)} }} drop"] if self.blocked else []
        rules += [f"numgen random mod 100 < {self.lost} drop"] if self.lost else []
        chain = "chain in {\ntype filter hook input priority 0; policy accept\niif lo accept\n" + "\n".join(rules) + "\n}"
        run(*self.prefix, "nft", "-f", "-", text=f"table ip chaos\ndelete table ip chaos\ntable ip chaos {{\n{chain}\n}}\n")


class Net:
    """A bridge in a namespace of its own, and the namespaces at it."""

    def __init__(self, base="10.77"):
        self.tag = f"chaos{os.getpid()}"
        self.base = base
        self.spaces = []
        self.count = 0

    def __enter__(self):
        self.hub = f"{self.tag}-hub"
        run("ip", "netns", "add", self.hub)
        self.spaces.append(self.hub)
        run("ip", "-n", self.hub, "link", "add", "name", "switch", "type", "bridge")
        run("ip", "-n", self.hub, "link", "set", "switch", "up")
        return self

    def __exit__(self, *_):
        for name in self.spaces:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def address(self):
        self.count += 1
        return f"{self.base}.{self.count // 250}.{self.count % 250 + 1}"

    def plug(self, device, ip, *where):
        """One end of a pair at the bridge, the other, `device`, where the run is or in a namespace."""
        inside = ["-n", where[0]] if where else []
        end = ["netns", where[0]] if where else ["netns", str(os.getpid())]
        run("ip", "-n", self.hub, "link", "add", "name", f"v{self.count}", "type", "veth", "peer", "name", device, *end)
        run("ip", "-n", self.hub, "link", "set", f"v{self.count}", "master", "switch", "up")
        run("ip", *inside, "addr", "add", f"{ip}/16", "dev", device)
        run("ip", *inside, "link", "set", device, "up")

    def space(self, label):
        """A new namespace."""
        ip = self.address()
        name = f"{self.tag}-{label}"
        run("ip", "netns", "add", name)
        self.spaces.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        self.plug("eth0", ip, name)
        return Space(name, ip)

    def join(self, device="chaos0"):
        """Connects the namespace of this program. Returns its address."""
        ip = self.address()
        self.plug(device, ip)
        return ip

    def another(self, device="chaos0"):
        """One more address of this program at the bridge."""
        ip = self.address()
        run("ip", "addr", "add", f"{ip}/16", "dev", device)
        return ip
