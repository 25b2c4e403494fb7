"""TLS for a plain socket that plays a client."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.sockets.clients import Far
from tests.sockets.wires import until
from tests.support.certificates import strict_client


class TLS:
    """A client's TLS over a plain socket, driven by hand: it answers nothing by itself."""

    def __init__(self, far: Far, authority: Path, own: Path | None = None, **versions: Any) -> None:
        """
        :param authority: who vouches for the server.
        :param own: our own certificate and key.
        :param versions: attributes of the context.
        """
        self.far = far
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = strict_client(authority, own)
        for name, value in versions.items():
            setattr(context, name, value)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._fed = 0

    def start(self, count: int | None = None, before: bytes = b"") -> None:
        """Send the ClientHello, or its first octets only, glued to what comes before."""
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self.far.send(before + self._outgoing.read()[:count])

    async def handshake(self) -> None:
        await until(lambda: self._has_done(self._tls.do_handshake))

    @property
    def serial_number(self) -> int:
        """Of the server's certificate."""
        certificate = self._tls.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)

    async def refusal(self) -> str:
        """The alert that this client is turned away with, however late."""
        with pytest.raises(ssl.SSLError) as caught:
            await self.receive(1)
        return str(caught.value.reason)

    async def goodbye(self) -> None:
        """Send close_notify, and wait for the server's."""
        await until(lambda: self._has_done(self._tls.unwrap))

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._pump()

    async def receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            await until(lambda: self._has_done(lambda: data.extend(self._tls.read())))
        return bytes(data)

    def _has_done(self, step: Callable[[], None]) -> bool:
        """Try a step with what has come by now."""
        self._pump()
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._pump()
        return True

    def _pump(self) -> None:
        if self._outgoing.pending:
            self.far.send(self._outgoing.read())
        received = self.far.value()
        self._incoming.write(received[self._fed :])
        self._fed = len(received)
