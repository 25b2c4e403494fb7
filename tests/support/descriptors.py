"""Sockets as another process leaves them: their numbers are in a row."""

import os
import socket
from collections.abc import Sequence


def numbered(sockets: Sequence[socket.socket]) -> int:
    """Copies of the sockets in a row, behind every number that is taken.

    :returns: the first one's number.
    """
    first = max(map(int, os.listdir("/proc/self/fd"))) + 1
    for number, sock in enumerate(sockets, first):
        os.dup2(sock.fileno(), number)
    return first
