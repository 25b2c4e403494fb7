"""A hand-over: a process starts its own command line anew and leaves it the listening sockets; when the new one serves,
the old one accepts nobody any more, and ends with its last session. Nobody is refused meanwhile, for the sockets never
close, and who waits in their queues is served by either.

The two speak over a stream of the system's. The new one says that it serves (``+``, and its number), or why it does not
start (``!``, and the sentence). The old one ends the stream once it has left everything to the new one. Where it leaves
nothing it says why before that (``!``), for the new one may have said by then that it serves. If the stream ends for
another reason, neither has the other's part.

The new process is nobody's child, started by one between that ends at once: so whoever supervises the old one, as
systemd does, is its parent, too.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from typing_extensions import override
from zope.interface import implementer

from socks5.app.announcing import Announcer, Together
from socks5.app.estate import VARIABLE, Left, systemds
from socks5.app.inherit import FIRST_DESCRIPTOR
from socks5.app.signals import held

PATIENCE = 60.0
"""Seconds that a new process may take until it serves."""

SERVES, REFUSES = "+", "!"

_BETWEEN = """\
import os, sys
if not os.fork():
    if "LISTEN_FDS" in os.environ:
        os.environ["LISTEN_PID"] = str(os.getpid())
    os.execv(sys.argv[1], sys.argv[1:])
"""
"""What the process between runs; it says whom systemd's sockets are for."""


class Leaver(Protocol):
    """The opener of a process's listeners."""

    def left(self) -> Sequence[tuple[str, Sequence[socket.socket]]]:
        """What can be left, but for systemd's: each place, and its sockets; see :func:`socks5.net.places.name_of`."""

    def leave(self) -> None:
        """It is left: when our copies close, nothing else of it ends, and the files of UNIX sockets stay."""

    def take_possession(self) -> None:
        """What was left to us is ours alone: the files of UNIX sockets, too, are ours to delete."""


@implementer(IReadDescriptor)
class _Stream:
    """One end of the stream.

    :param told: called with each line.
    :param ended: called when it ends.
    """

    def __init__(
        self,
        reactor: Any,
        end: socket.socket,
        told: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._socket = end
        self._told = told
        self._ended = ended
        self._rest = b""
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "hand-over"

    def doRead(self) -> None:
        """Some lines, or the end."""
        try:
            octets = self._socket.recv(4096)
        except OSError:
            octets = b""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            self._told(line.decode("utf-8", "replace"))
        if not octets and self.fileno() >= 0:
            self.close()
            self._ended()

    def say(self, line: str) -> None:
        """One line; lost if nobody is there any more."""
        with suppress(OSError):
            self._socket.sendall(line.encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        """End it."""
        self._reactor.removeReader(self)
        self._socket.close()

    def connectionLost(self, reason: Any) -> None:
        """The reactor ends, and with it the process."""


def refuse(left: Left | None, sentence: str) -> None:
    """Tell the old process, if there is one, that this one does not start, before it has anything to tell it with."""
    if left is not None:
        with socket.socket(fileno=left.channel) as channel, suppress(OSError):
            channel.sendall(f"{REFUSES}{sentence}\n".encode("utf-8", "replace"))


class HandOver:
    """The old process's part.

    :param reactor: starts the new one.
    :param leaver: whose sockets are left.
    :param environment: what the new one's environment has beside ours.
    :param done: called with the new one's number, once it serves.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        leaver: Leaver,
        environment: Mapping[str, str],
        done: Callable[[int], object],
    ) -> None:
        self._reactor = reactor
        self._leaver = leaver
        self._environment = environment
        self._done = done
        self._stream: _Stream | None = None
        self._late: IDelayedCall | None = None
        self._reason = ""

    @property
    def is_under_way(self) -> bool:
        """Whether a new process has been started, which does not serve yet."""
        return self._stream is not None

    def begin(self) -> None:
        """Start the new process, unless that is under way."""
        if self.is_under_way:
            self.log.warn("SIGUSR2: a hand-over is under way already")
            return
        if os.getpid() == 1:
            self._say_why_not("a container ends with its first process")
            return
        self.log.info("SIGUSR2: a new process is started to take over")
        ours, theirs = socket.socketpair()
        try:
            with theirs, held():
                self._spawn(theirs)
        except OSError as error:
            ours.close()
            self._say_why_not(f"no process can be started: {error.strerror}")
            return
        self._reason = "the new process ended before it served; its lines say why"
        self._stream = _Stream(self._reactor, ours, self._told, self._failed)
        self._late = self._reactor.callLater(PATIENCE, self._is_late)

    def _spawn(self, channel: socket.socket) -> None:
        """:raises OSError: the system does not let us."""
        left = [(name, sockets) for name, sockets in self._leaver.left() if sockets]
        of_systemd = systemds()
        descriptors = [*of_systemd, *(sock.fileno() for _, sockets in left for sock in sockets)]
        estate = Left(
            FIRST_DESCRIPTOR + len(of_systemd),
            [(name, len(sockets)) for name, sockets in left],
            FIRST_DESCRIPTOR + len(descriptors),
        )
        descriptors.append(channel.fileno())
        environment = {**os.environ, **self._environment, VARIABLE: estate.environment}
        if of_systemd:
            environment["LISTEN_FDS"] = str(len(of_systemd))
        command = [sys.executable, "-IS", "-c", _BETWEEN, sys.executable, *sys.orig_argv[1:]]
        self._reactor.spawnProcess(
            ProcessProtocol(),
            sys.executable,
            command,
            env=environment,
            childFDs={0: 0, 1: 1, 2: 2, **dict(enumerate(descriptors, FIRST_DESCRIPTOR))},
        )

    def _told(self, line: str) -> None:
        if line.startswith(REFUSES):
            self._reason = line[len(REFUSES) :]
        elif self._stream is not None:
            stream = self._end()
            self._leaver.leave()
            self._done(int(line[len(SERVES) :]))
            stream.close()

    def _end(self) -> _Stream:
        late, self._late = self._late, None
        stream, self._stream = self._stream, None
        assert late is not None
        assert stream is not None
        if late.active():
            late.cancel()
        return stream

    def cancel(self) -> None:
        """Leave nothing, if nobody has taken over yet: the listeners close, and who shares them would serve nobody."""
        if self.is_under_way:
            self._give_up("the proxy listens no more")

    def _is_late(self) -> None:
        self._give_up(f"the new process does not serve after {PATIENCE:g} s")

    def _give_up(self, reason: str) -> None:
        stream = self._end()
        stream.say(f"{REFUSES}{reason}")
        stream.close()
        self._say_why_not(reason)

    def _failed(self) -> None:
        self._end()
        self._say_why_not(self._reason)

    def _say_why_not(self, reason: str) -> None:
        self.log.error("SIGUSR2: nothing is handed over: {reason}", reason=reason)


class Heir(Together):
    """The new process's part: an announcer that tells the old process first, and others once that has left everything.

    :param reactor: listens to the old process.
    :param channel: the descriptor of the stream.
    :param announcer: tells the others.
    :param taken: called once everything is left to us.
    :param give_up: ends this process, for the old one has gone; told why.
    """

    def __init__(
        self,
        reactor: Any,
        channel: int,
        announcer: Announcer,
        taken: Callable[[], object],
        give_up: Callable[[str], object],
    ) -> None:
        super().__init__(announcer)
        self._places: list[str] = []
        self._taken = taken
        self._give_up = give_up
        self._is_over = False
        self._refusal = ""
        end = socket.socket(fileno=channel)
        end.set_inheritable(False)
        self._stream = _Stream(reactor, end, self._told, self._ended)

    @override
    def begins(self, places: Sequence[str]) -> None:
        if self._is_over:
            super().begins(places)
            return
        if not self._places:
            self._stream.say(f"{SERVES}{os.getpid()}")
        self._places += places

    @override
    def refuses(self, sentence: str) -> None:
        super().refuses(sentence)
        self._stream.say(f"{REFUSES}{sentence}")

    def _told(self, line: str) -> None:
        self._refusal = f"nothing is handed over: {line[len(REFUSES) :]}"

    def _ended(self) -> None:
        if self._refusal or not self._places:
            self._give_up(self._refusal or "the process that it was to take over from has ended")
            return
        self._is_over = True
        self._taken()
        super().begins(self._places)
