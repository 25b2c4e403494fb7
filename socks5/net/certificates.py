"""The certificates of a TLS listener: its own with the key, and the authorities of its clients'.

:class:`Certificates` holds them as a context of OpenSSL's and reads them again when their files
change, so a renewed certificate needs no restart. A client's certificate that an authority vouches
for names who its user is, or it is none. Looks for no revocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from socks5.deadlines import clock_of
from socks5.files import Stamp
from socks5.net.certificate_files import Files, Loaded, Unread, Unusable

LOOK_INTERVAL = 2.0
"""Seconds between looks whether the files have changed; a look takes a new connection."""


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """Makes the TLS of new connections, from files that are read again when they have changed.

    While they cannot be used - one half written, or a key without its certificate yet - what was
    read before stays, and the log says so once. Living connections keep what they began with.

    :param files: read now, for the first time.
    :param clock: IReactorTime, not asked before the first client.
    :raises Unusable: with these files there can be no TLS.
    """

    log = Logger()

    def __init__(self, files: Files, clock: Any) -> None:
        self.files = files
        self._clock = clock
        self._next_look = 0.0
        self._seen: list[Stamp | None] | None = files.look()
        self._complaint = ""
        self._loaded = Loaded.from_files(files)

    @property
    def warnings(self) -> Sequence[str]:
        """What is legal but hardly meant."""
        return self._loaded.warnings

    def warn(self) -> None:
        """Say that in the log."""
        for warning in self._loaded.warnings:
            self.log.warn("TLS: {warning}", warning=warning)

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See :meth:`twisted.internet.interfaces.IOpenSSLServerConnectionCreator.serverConnectionForTLS`."""
        now = clock_of(self._clock)()
        if now >= self._next_look:
            self._next_look = now + LOOK_INTERVAL
            self.look()
        return SSL.Connection(self._loaded.context, None)

    def reread(self) -> str:
        """Read the files, changed or not; in any thread.

        :returns: which.
        :raises Unusable: says what is wrong; what was read before stays.
        """
        seen = self.files.look()
        self._loaded = Loaded.from_files(self.files)
        self._seen = seen
        self._complaint = ""
        self.warn()
        return self.files.cert

    def look(self) -> None:
        """Read the files if they have changed; in any thread."""
        # Before reading: what is written meanwhile is then noticed at the next look.
        seen = self.files.look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._loaded = Loaded.from_files(self.files)
        except (Unread, OSError, MemoryError) as error:  # an OSError of a file that goes just now
            self._seen = None  # the next look reads again
            self._complain(str(error) or type(error).__name__)
        except Unusable as error:
            self._complain(str(error))
        except Exception:  # what nobody thought of is not the client's fault
            self.log.failure("TLS certificates stay as they were")
        else:
            self._complaint = ""
            self.log.info("TLS certificates are read again: {cert}", cert=self.files.cert)
            self.warn()

    def _complain(self, reason: str) -> None:
        """Once, until it is mended, or something else is the matter."""
        if reason != self._complaint:
            self._complaint = reason
            self.log.warn("TLS certificates stay as they were: {error}", error=reason)
