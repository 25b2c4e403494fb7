"""A machine of its own (unshare(1)) with several addresses. Writes, as JSON, which of those that are named as arguments
it takes for its own.
"""

import fcntl
import json
import socket
import struct
import sys

from socks5.net.own import is_own_address

ADDRESSES = {"lo:1": ("198.51.100.1", "255.255.255.0"), "lo:2": ("198.51.100.2", "255.255.255.0")}
"""By name of the interface: the second is of the first one's network, so it is a secondary one."""

_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C  # netdevice(7)
_UP = 1


def set_up() -> None:
    """Give the loopback its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))
        for name, (host, mask) in ADDRESSES.items():
            for request, each in ((_SIOCSIFADDR, host), (_SIOCSIFNETMASK, mask)):
                octets = socket.inet_aton(each)
                fcntl.ioctl(
                    sock, request, struct.pack("16sH2x4s8x", name.encode(), socket.AF_INET, octets)
                )


if __name__ == "__main__":
    set_up()
    sys.stdout.write(
        json.dumps([host for host in sys.argv[1:] if is_own_address(host, unknown=False)])
    )
