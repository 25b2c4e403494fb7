"""The client of :mod:`tests.interop.ticket` with our half of the negotiation instead of its own."""

from collections.abc import Iterator

from typing_extensions import override

from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ClientEvent, ClientNegotiation, ReplyReceived
from socks5.protocol.messages import Request
from socks5.protocol.stages import ProtectionReceived, Rejected, Stage, TokenReceived
from tests.interop.association import Peer
from tests.interop.ticket import ENCAPSULATED, NONE, Aborted, Client


class Driven(Client):
    """Asks for everything at once, when it is told what to ask for."""

    @override
    def log_in(self, level: int, is_nec: bool = False) -> int:
        """Keep in mind what to propose."""
        self._proposed = bytes([level])
        self._is_nec = is_nec
        return level

    @override
    def request(self, command: int, host: str = "0.0.0.0", port: int = 0) -> tuple[int, Peer]:
        asked = Request(command, Address(host, port))
        self._machine = ClientNegotiation(asked, has_context=True)
        self._is_agreed = False
        self._events: Iterator[ClientEvent] = iter(())
        return self._until_reply()

    @override
    def reply(self) -> tuple[int, Peer]:
        """The second one, of a BIND."""
        return self._until_reply()

    def _until_reply(self) -> tuple[int, Peer]:
        while True:
            self._say()
            for event in self._events:
                if isinstance(event, ReplyReceived):
                    if self._machine.stage is Stage.ESTABLISHED:
                        self._plain = self._machine.take_trailing()
                    host = event.reply.address.host
                    assert isinstance(host, str)
                    return event.reply.code, (host, event.reply.address.port)
                self._answer(event)
                break
            else:
                self._events = iter(self._machine.receive(self._some()))

    def _some(self) -> bytes:
        """What has come, out of its token if a level has been agreed."""
        if self._is_agreed and self.level != NONE:
            return self.unwrapped(self.token(ENCAPSULATED))
        octets = self.socket.recv(65536)
        if not octets:
            raise Aborted
        return octets

    def _say(self) -> None:
        output = self._machine.take_output()
        if self._is_agreed:
            self.send(output)
        else:
            self.socket.sendall(output)

    def _answer(self, event: ClientEvent) -> None:
        if isinstance(event, Rejected):
            raise Aborted
        assert self.context is not None
        if isinstance(event, TokenReceived):
            token = None if self.context.complete else self.context.step(event.token or None)
            if token:
                self._machine.send_token(token)
                return
            proposal = self._proposed
            if not self._is_nec:
                proposal = self.context.wrap(proposal, False).message
            self._machine.require_protection(proposal)
            return
        assert isinstance(event, ProtectionReceived)
        assert event.is_bare == self._is_nec
        answer = event.token if self._is_nec else self.context.unwrap(event.token).message
        [self.level] = answer
        assert self._machine.accept_protection() == b""  # nothing comes before the request
        self._is_agreed = True
