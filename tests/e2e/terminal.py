#!/usr/bin/env python3
"""Runs a command on a terminal of its own and writes what the terminal received to standard output.

terminal.py [TEXT LINE]... -- COMMAND [ARG]...: each LINE is typed after its TEXT has appeared.
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

COLUMNS = 200  # so that a table shows what it would show in a file
SECONDS = 60  # only so that a test that fails ends


def main():
    split = sys.argv.index("--")
    steps, command = sys.argv[1:split], sys.argv[split + 1 :]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(SECONDS)
    received, seen = b"", 0
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            data = b""
        if not data:
            break
        received += data
        while steps and (at := received.find(steps[0].encode(), seen)) >= 0:
            seen = at + len(steps[0].encode())
            os.write(terminal, steps[1].encode() + b"\r")
            steps = steps[2:]
    sys.stdout.buffer.write(received)
    sys.stdout.flush()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
