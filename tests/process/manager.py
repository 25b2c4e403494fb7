"""A service manager that the program tells of itself, as it does systemd."""

import socket
import sys
from pathlib import Path
from threading import Thread


class Manager:
    """Listens as systemd does, for messages of one process.

    In a thread: Linux keeps no more than eleven messages (net.unix.max_dgram_qlen), and a program that is watched and
    whose manager does not read waits until its message is lost.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        self.messages: list[str] = []
        self.senders: list[int] = []
        """Of all messages, in their order."""
        self._thread = Thread(target=self._hear)
        self._thread.start()

    def _hear(self) -> None:
        while True:
            octets, ancillary, _, _ = self._socket.recvmsg(4096, 64)
            if not octets:  # it is shut
                return
            [(_, _, credentials)] = ancillary
            self.senders.append(int.from_bytes(credentials[:4], sys.byteorder))
            self.messages.append(octets.decode())

    def has_heard(self, beginning: str) -> bool:
        """Whether there has been a message that begins so; each counts once."""
        found = [number for number, text in enumerate(self.messages) if text.startswith(beginning)]
        del self.messages[: found[0] + 1 if found else 0]
        return bool(found)

    def hear_out(self) -> None:
        """Hear what has been sent by now, and no more."""
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()

    def close(self) -> None:
        self.hear_out()
        self._socket.close()
