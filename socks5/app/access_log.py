"""The access log of a process: where it goes and how it is written, where nothing or half of that was said."""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

from socks5.app.inherit import Worker
from socks5.net.poller import poller_of
from socks5.observe.accesslog import FORMATS, STANDARD_OUTPUT, AccessLog


class Log(Protocol):
    """What the service does with an access log."""

    def open(self) -> None:
        """:raises OSError: it cannot be opened."""

    def reopen(self) -> str | None:
        """Continue in the file that the path now leads to, which is returned.

        :raises OSError: it cannot be opened, and the file of before stays.
        """

    def close(self) -> None:
        """Leave nothing unwritten."""


def access_log_for(
    reactor: Any,
    path: str | None,
    form: str | None,
    worker: Worker | None = None,
    is_daemon: bool = False,
) -> AccessLog | None:
    """The access log, not yet opened.

    :param path: "" for none; None: the output if it is a terminal, else none.
    :param form: one of :data:`~socks5.observe.accesslog.FORMATS`; None: text on a terminal, else JSON.
    :param worker: this process as a worker, whose parent has the output.
    :param is_daemon: whether there is going to be no output.
    """
    is_terminal = sys.stdout.isatty() if worker is None else os.isatty(worker.output)
    is_terminal = is_terminal and not is_daemon
    if path is None:
        path = STANDARD_OUTPUT if is_terminal else ""
    if not path:
        return None
    default = "text" if path == STANDARD_OUTPUT and is_terminal else "json"
    poller = poller_of(reactor)
    together = {} if poller is None else {"behind": poller.behind}
    output = None if worker is None else worker.output
    return AccessLog(reactor, path, FORMATS[form or default], output, **together)
