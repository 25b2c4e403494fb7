"""Ports for who must be told one."""

import os
import random
import socket

_PORTS = list(range(20000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8, 32768, 8))
"""What this process of the tests draws from: none is given twice, and none to another process of them."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port of the loopback on which nobody listens, free for TCP and UDP.

    Below the range that Linux hands out by itself, so that nobody gets it by chance meanwhile.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = _PORTS.pop(random.randrange(len(_PORTS)))
        with socket.socket(family, socket.SOCK_DGRAM) as udp, socket.socket(family) as tcp:
            try:
                udp.bind((host, port))
                tcp.bind((host, port))
            except OSError:
                continue
            return port
