"""What systemd is told, by the socket that it names (sd_notify(3), sd_watchdog_enabled(3)); nothing, if it names none.

Of the environment variables for that none is left to the processes that we start: what they say is not about us.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from typing_extensions import override

from socks5.app.announcing import Announcer

EXTENSION = 20.0
"""Seconds that systemd is asked for, again and again, while a drain lasts; what comes behind it takes less."""

EXTENSION_INTERVAL = 5.0
"""Seconds after which it is asked again."""

SEND_TIME = 1.0
"""Seconds that a message may take: it waits where systemd is busy, and is for us nothing to wait for."""


def from_environment(reactor: Any) -> Announcer:
    """What tells the systemd that has started this process, if one has, and asked for that.

    :param reactor: turns as long as the process is well.
    """
    taken = {
        name: os.environ.pop(name, "")
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    }
    path, interval, process = taken.values()
    if not path:
        return Announcer()
    is_watched = interval.isdigit() and process in ("", str(os.getpid()))
    return Systemd(reactor, path, int(interval) / 1e6 if is_watched else 0.0)


class Systemd(Announcer):
    """Tells it.

    :param reactor: see :func:`from_environment`.
    :param path: of the socket; behind ``@`` an abstract one.
    :param watchdog: seconds after which systemd takes a process that says nothing for one that hangs; 0: it does not.
    """

    log = Logger()

    def __init__(self, reactor: Any, path: str, watchdog: float = 0.0) -> None:
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._has_begun = False
        self._has_failed = False
        self._is_over = False  # another process is the service's main one
        self.environment = {"NOTIFY_SOCKET": path}
        """What another process learns systemd's wishes from: one that is to take the place of this one."""
        self._extending = LoopingCall(self._extend)
        self._extending.clock = reactor
        self._watching = LoopingCall(self._tell, "WATCHDOG=1")
        self._watching.clock = reactor
        self._watchdog = watchdog
        if watchdog:
            self.environment["WATCHDOG_USEC"] = str(round(watchdog * 1e6))

    @override
    def begins(self, places: Sequence[str]) -> None:
        """More places, as a reload opens them, are in the outcome of that."""
        if self._has_begun:
            return
        self._has_begun = True
        self._tell("READY=1", f"STATUS=listens on {', '.join(places)}")
        if self._watchdog and not self._watching.running:
            self._watching.start(self._watchdog / 2)

    @override
    def rereads(self) -> None:
        """Without the time systemd refuses it, and would wait for ever."""
        if self._has_begun:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    @override
    def has_reread(self, outcome: str) -> None:
        """Also if nothing could be read."""
        if self._has_begun:
            self._tell("READY=1", f"STATUS={outcome}")

    @override
    def hands_over(self, process: int) -> None:
        """From here on systemd hears that one alone."""
        self._tell(f"MAINPID={process}")
        self._is_over = True

    @override
    def drains(self, seconds: float, sessions: int) -> None:
        self._tell("STOPPING=1", f"STATUS=drains; open sessions: {sessions}")
        self._extending.start(EXTENSION_INTERVAL)

    def _extend(self) -> None:
        self._tell(f"EXTEND_TIMEOUT_USEC={round(EXTENSION * 1e6)}")

    @override
    def has_drained(self, seconds: float, sessions: int) -> None:
        self._extending.stop()

    @override
    def ends(self, sessions: int) -> None:
        self._tell("STOPPING=1", f"STATUS=stops; open sessions: {sessions}")

    def _tell(self, *lines: str) -> None:
        """One message. It is lost if systemd cannot be told, which is said once."""
        if self._is_over:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(SEND_TIME)
                sock.sendto(message.encode("utf-8", "surrogateescape"), self._address)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                self.log.warn(
                    "systemd cannot be told anything: {reason}", reason=error.strerror or str(error)
                )
