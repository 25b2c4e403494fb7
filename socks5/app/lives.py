"""The life of a worker, as its parent sees it: its signs, its output, its end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from socks5.app.channel import Channel, Message
from socks5.app.heartbeat import SIGN, Pulse
from socks5.app.inherit import DRAIN

MAX_LINE = 16384
"""Octets of a line of a worker's output; longer ones are cut into several."""


class Lines:
    """The lines of an output, for the log. Blank ones are left out.

    :param name: whose.
    """

    log = Logger()

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""

    def received(self, octets: bytes) -> None:
        """More of the output."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            self._say(line)
        while len(self._rest) > MAX_LINE:
            self._say(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]

    def ended(self) -> None:
        """That was all."""
        self._say(self._rest)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").rstrip()
        if text:
            self.log.info("[{name}] {line}", name=self._name, line=text)


class Life(ProcessProtocol):
    """One life of a worker, from its start to its end.

    :param monitored: what the monitor knows it by.
    :param channel: to it.
    :param noticed: told when there was a sign.
    :param ended: told of its end, and why.
    """

    def __init__(
        self,
        monitored: Any,
        channel: Channel,
        noticed: Callable[[], None],
        ended: Callable[[Life, Failure], None],
    ) -> None:
        self.monitored = monitored
        self.name: str = monitored.name
        self.pulse = Pulse()
        self.is_given_up = False
        self.channel = channel
        self._noticed = noticed
        self._ended = ended
        channel.hear(SIGN, self._gives_sign)
        self._lines = {1: Lines(self.name), 2: Lines(self.name)}

    @override
    def connectionMade(self) -> None:
        self.monitored.makeConnection(self.transport)
        self.channel.open()

    @override
    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._lines[childFD].received(data)

    def _gives_sign(self, sign: Message, descriptors: Sequence[int]) -> None:
        self.pulse.heard(sign)
        self._noticed()

    @override
    def processEnded(self, reason: Failure) -> None:
        for lines in self._lines.values():
            lines.ended()
        self.channel.doRead()  # its last words
        self.channel.close()
        self._ended(self, reason)

    def drain(self) -> None:
        """Have it listen no more, and end when its last session is gone."""
        self.channel.send({"is": DRAIN})

    def end(self) -> None:
        """Have it end, in order."""
        self.channel.end()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)  # type: ignore[union-attr]
