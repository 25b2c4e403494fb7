"""A service manager that the program tells of itself, as it does systemd."""

import socket
import sys
from pathlib import Path


class Manager:
    """Listens as systemd does, for messages of one process."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        self.messages: list[str] = []
        self.senders: list[int] = []
        """Of all messages, in their order."""

    def has_heard(self, beginning: str) -> bool:
        """Whether there has been a message that begins so; each counts once."""
        try:
            while True:
                octets, ancillary, _, _ = self._socket.recvmsg(4096, 64)
                [(_, _, credentials)] = ancillary
                self.senders.append(int.from_bytes(credentials[:4], sys.byteorder))
                self.messages.append(octets.decode())
        except BlockingIOError:
            pass
        found = [number for number, text in enumerate(self.messages) if text.startswith(beginning)]
        del self.messages[: found[0] + 1 if found else 0]
        return bool(found)

    def close(self) -> None:
        self._socket.close()
