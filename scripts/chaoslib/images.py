"""Power cuts of a real file system: the image of a mounted ext4 is copied, without a sync, at random
moments while files are downloaded to it. The copy is mounted, which replays its journal, and what is
on it is checked and resumed.

Needs root, loop devices and mkfs.ext4.
"""
import ctypes
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .nodes import PATIENCE, Violation, check
from .world import SPRAT
from .writers import FILES, MIB, Case, Get, judge_text

IMAGE_BYTES = 48 * MIB
# At most this many times the wanted images, until one has had a part file.
MORE = 5
# Copies that a write of the kernel spoiled are made again, at another moment.
COPY_TRIES = 200
NAMES = list(FILES)
LIBC = ctypes.CDLL(None)


class Unavailable(Exception):
    """This machine cannot mount an image."""


@dataclass
class Tally:
    images: int = 0
    published: int = 0
    partly: int = 0
    violations: list = field(default_factory=list)


def run_quietly(*args):
    ran = subprocess.run(list(map(str, args)), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Unavailable(f"{' '.join(map(str, args))}: {ran.stderr.strip()}")
    return ran.stdout.strip()


class Mount:
    """An image on a loop device, mounted. Only what this made is taken down."""

    def __init__(self, image, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.device = run_quietly("losetup", "--show", "-f", image)
        try:
            run_quietly("mount", "-t", "ext4", "-o", "commit=1", self.device, folder)
        except Unavailable:
            run_quietly("losetup", "-d", self.device)
            raise

    def close(self):
        for _ in range(100):
            if subprocess.run(["umount", str(self.folder)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.05)
        subprocess.run(["losetup", "-d", self.device], capture_output=True, check=False)

    def writes(self):
        """The number of write requests and of requests under way."""
        fields = Path(f"/sys/block/{Path(self.device).name}/stat").read_text().split()
        return fields[4], fields[8]


class Downloads(threading.Thread):
    """Downloads all files to a folder, removes them, and begins again."""

    def __init__(self, world, folder, draw):
        super().__init__()
        self.world, self.folder, self.draw, self.ending = world, folder, draw, False
        self.process = None
        # Names of downloads that have ended well and are not removed yet.
        self.finished = set()

    def run(self):
        while not self.ending:
            for name in self.draw.sample(NAMES, len(NAMES)):
                self.process = subprocess.Popen([SPRAT, "get", name, "-o", self.folder, "--super", self.world.super_addr, "-q"],
                                                env=self.world.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                                stderr=subprocess.DEVNULL)
                if self.draw.random() < 0.4:
                    time.sleep(self.draw.random() * 0.12)
                    self.process.kill()
                if self.process.wait() == 0:
                    self.finished.add(name)
                if self.draw.random() < 0.3:
                    self.sync()
                if self.ending:
                    return
            self.finished.clear()
            for name in NAMES:
                (self.folder / name).unlink(missing_ok=True)

    def send(self, number):
        """Sends a signal to the download under way."""
        if self.process:
            self.process.send_signal(number)

    def sync(self):
        """What the kernel does by itself every few seconds."""
        folder = os.open(self.folder, os.O_RDONLY)
        LIBC.syncfs(folder)
        os.close(folder)


def snapshot(mount, image, copy, downloads, draw):
    """A copy of the image as it was at one moment: no write of the kernel fell into it. Returns the
    names of the downloads that had ended before that moment."""
    for _ in range(COPY_TRIES):
        time.sleep(draw.random() * 0.15)
        # It changes no block that is on the disk now, and the kernel writes less during the copy.
        downloads.send(signal.SIGSTOP)
        before, finished = mount.writes(), set(downloads.finished)
        shutil.copyfile(image, copy)
        still = before[1] == "0" and mount.writes() == before
        downloads.send(signal.SIGCONT)
        if still:
            return finished & downloads.finished
    raise Violation("no moment without a write of the kernel was found")


def run(world, count, seed, report):
    """`count` images, or more until there was a published file and a part file."""
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        raise Unavailable("images need root and mkfs.ext4 (e2fsprogs)")
    draw, tally = random.Random(seed), Tally()
    image, copy = world.folder / "image", world.folder / "copy"
    with open(image, "wb") as file:
        file.truncate(IMAGE_BYTES)
    run_quietly("mkfs.ext4", "-q", "-F", image)
    mount = Mount(image, world.folder / "mounted")
    downloads = Downloads(world, mount.folder, random.Random(seed + 1))
    downloads.start()
    try:
        for number in range(MORE * count):
            if number >= count and tally.published and tally.partly:
                break
            if not downloads.is_alive():
                tally.violations.append(f"image {number} of seed {seed}: the downloads have ended")
                report(tally.violations[-1])
                break
            finished = snapshot(mount, image, copy, downloads, draw)
            try:
                examine(world, copy, finished, tally)
            except Violation as violation:
                tally.violations.append(f"image {number} of seed {seed}: {violation}")
                report(tally.violations[-1])
            tally.images += 1
    finally:
        downloads.ending = True
        downloads.join(PATIENCE)
        mount.close()
    return tally


def examine(world, copy, finished, tally):
    """Mounts a copy, checks it, and runs every download on it."""
    mount = Mount(copy, world.folder / "after")
    try:
        case = Case(world, mount.folder, world.folder / "none")
        case.out = mount.folder
        for name in NAMES:
            writer = Get(f"get of {name}", name)
            if name in finished:
                writer.judge_durable(case)
            writer.at_destination(case)
            left = writer.memory(case)
            tally.published += left is None
            tally.partly += bool(left)
            last = writer.run(case)
            judge_text(last)
            check(last.exit == 0, f"{name}: exit {last.exit}: {last.text[-300:]}")
            writer.at_destination(case)
            check((mount.folder / name).exists(), f"{name} is missing")
            fetched = {event["index"] for event in last.event("piece")}
            check(not (left or set()) & fetched, f"{name}: verified pieces were fetched again")
        over = {path.name for path in mount.folder.iterdir()} - {"lost+found", *NAMES}
        check(not over, f"left over: {over}")
    finally:
        mount.close()
