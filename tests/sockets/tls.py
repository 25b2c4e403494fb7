"""TLS for the clients of these tests."""

import ssl
from collections.abc import Callable
from pathlib import Path

from tests.sockets.clients import Far
from tests.sockets.wires import until


class TLS:
    """A client's TLS over a plain socket, driven by hand: it answers nothing by itself."""

    def __init__(self, far: Far, certificate: Path) -> None:
        self.far = far
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=certificate)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._fed = 0

    async def handshake(self) -> None:
        await until(lambda: self._has_done(self._tls.do_handshake))

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
