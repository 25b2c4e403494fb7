"""What is asked for, by a file or by a command line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.logger import Logger

from socks5.app.access_log import access_log_for
from socks5.app.config.build import Made, build
from socks5.app.config.document import Document, Problem, load, parse
from socks5.app.config.keys import AUTO_WORKERS
from socks5.app.config.ruling import keep_shut
from socks5.app.inherit import Worker, told_by
from socks5.app.listeners import Listener
from socks5.app.reread import Source
from socks5.interfaces import Policy
from socks5.observe.accesslog import AccessLog
from socks5.outbound.ways import Upstreams
from socks5.settings import Capacity


class Configured:
    """What the file of ``--config`` asks for, or the command line itself.

    :param file: as it was named; "": there is none.
    :param reactor: of the process.
    :param worker: this process as a worker, which has the text of its parent.
    :param arguments: the command line, for workers.
    :param is_daemon: whether the process is going to have no output.
    :param document: what is in the file, or what the command line says; default: the file is read, or what the parent
        has told.
    :raises socks5.app.config.document.Refused: says everything that is wrong with it.
    """

    _log = Logger()

    def __init__(
        self,
        file: str,
        reactor: Any,
        worker: Worker | None = None,
        arguments: Sequence[str] = (),
        is_daemon: bool = False,
        document: Document | None = None,
    ) -> None:
        self.file = os.path.abspath(file) if file else ""
        if document is None:
            document = load(file) if worker is None else received(told_by(worker.told))
        self.made: Made = build(document, reactor, worker, is_daemon=is_daemon)
        self.worker = worker
        self.arguments = list(arguments)
        self._is_daemon = is_daemon
        self._reactor = reactor

    def again(self, document: Document | None = None) -> Configured:
        """What the file asks for now; in any thread.

        :param document: what is in it; default: it is read.
        :raises socks5.app.config.document.Refused: says everything that is wrong with it.
        """
        if document is None:
            document = load(self.file, self.made.document.file)
        after = self._as(document, self.worker)
        keep_shut(self.made.configuration, after.made.configuration, after.made.document)
        return after

    def told_again(self, told: bytes, sockets: Sequence[str]) -> Configured:
        """What a parent has told one of its workers; in any thread.

        :param sockets: see :attr:`socks5.app.inherit.Worker.sockets`.
        :raises socks5.app.config.document.Refused: says everything that is wrong with it.
        """
        assert self.worker is not None
        return self._as(received(told), replace(self.worker, sockets=sockets))

    def _as(self, document: Document, worker: Worker | None) -> Configured:
        return Configured(
            self.file, self._reactor, worker, self.arguments, self._is_daemon, document
        )

    def warn(self) -> None:
        """Say in the log what is legal but hardly meant."""
        for warning in self.made.warnings:
            self._log.warn("{warning}", warning=str(warning))

    def policy_of_sessions(self, reactor: Any) -> Policy:
        """What holds for sessions."""
        made = self.made
        return Policy(
            settings=made.settings,
            rules=made.rules,
            authenticator=made.logins.authenticator,
            gssapi=made.logins.gssapi,
            methods=made.logins.methods,
            dialer=Upstreams(reactor, made.ways) if made.ways else None,
            limits=made.limits,
        )

    @property
    def capacity(self) -> Capacity:
        """Values of the process."""
        return self.made.capacity

    @property
    def sources(self) -> Sequence[Source]:
        """What is read again for SIGHUP, beside the certificates of listeners."""
        return self.made.logins.sources

    @property
    def workers(self) -> int:
        """Processes on the same ports."""
        count = self.made.configuration.server.workers
        return len(os.sched_getaffinity(0)) if count == AUTO_WORKERS else count

    @property
    def drain(self) -> float:
        """Seconds that sessions may go on when the proxy is asked to stop."""
        return self.made.configuration.server.drain

    @property
    def hand_over(self) -> float:
        """Seconds that sessions may go on behind a hand-over to a new process."""
        return self.made.configuration.server.hand_over

    def listeners(self, clock: Any) -> list[Listener]:
        """Where to listen."""
        return list(self.made.listeners)

    def access_log(self, reactor: Any, worker: Worker | None = None) -> AccessLog | None:
        """The access log, not yet opened."""
        form = self.made.configuration.log.format
        return access_log_for(reactor, self.made.access_log, form, worker, self._is_daemon)

    @property
    def told(self) -> bytes:
        """What workers are told; nothing where they have the command line."""
        document = self.made.document
        if not self.file:
            return b""
        told = {
            "text": document.text,
            "file": document.file,
            "folder": document.folder,
            "lists": self.made.lists,
        }
        return json.dumps(told).encode()


def received(octets: bytes) -> Document:
    """What a parent has told its workers: see :attr:`Configured.told`."""
    told = json.loads(octets)
    document = parse(told["text"], told["file"], told["folder"])
    return replace(document, lists=told["lists"])


def sentences(problems: Sequence[Problem], outcome: str) -> str:
    """Problems for people, each on a line, and how many they are.

    :param outcome: what came of it, such as "nothing was started"; "" for nothing to be said.
    """
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    end = f"{count}; {outcome}" if outcome else count
    return "".join(f"{line}\n" for line in (*map(str, problems), end))


def sentences_of_options(problems: Sequence[Problem], who: str = "socks5") -> str:
    """What is wrong with a command line, for people, each on a line.

    :param who: says so.
    """
    return "".join(f"{who}: {each}\n" for each in problems)
