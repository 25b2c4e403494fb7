"""A small SOCKS5 client with a Kerberos ticket, written from RFC 1928 and RFC 1961 alone: it shares no code with
us.

Blocking, on a plain socket, with MIT's GSS-API through python-gssapi.
"""

import socket
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tests.interop.association import Peer, address, split
from tests.interop.servers import SECONDS

if TYPE_CHECKING:
    import gssapi

CONTEXT, PROTECTION, ENCAPSULATED, ABORT = 1, 2, 3, 255
NONE, INTEGRITY, CONFIDENTIALITY = range(3)

CONNECT, ASSOCIATE = 1, 3

MAX_TOKEN = 65535
FLAGS_FOR_DATAGRAMS = ("mutual_authentication", "replay_detection", "integrity", "confidentiality")
FLAGS = (*FLAGS_FOR_DATAGRAMS, "out_of_sequence_detection")


class Aborted(Exception):
    """The proxy has said ``01 FF``, or nothing at all, and has closed."""


def message(kind: int, token: bytes) -> bytes:
    """``VER MTYP LEN TOKEN`` (RFC 1961 section 3)."""
    return bytes([1, kind]) + len(token).to_bytes(2, "big") + token


def initiator(
    tickets: Mapping[str, str], service: str = "rcmd@localhost", flags: Collection[str] = FLAGS
) -> "gssapi.SecurityContext":
    """The client's side of a context.

    :param tickets: an environment of :class:`tests.interop.realm.Realm`, whose configuration is this process's.
    :param flags: what is asked of the context, by the names of ``gssapi.RequirementFlag``.
    """
    import gssapi

    wanted = [gssapi.RequirementFlag[flag] for flag in flags]
    name = gssapi.Name(service, gssapi.NameType.hostbased_service)
    credentials = gssapi.Credentials(usage="initiate", store={"ccache": tickets["KRB5CCNAME"]})
    return gssapi.SecurityContext(name=name, creds=credentials, usage="initiate", flags=wanted)


class Client(AbstractContextManager["Client"]):
    """A control connection, greeted with the one method.

    :ivar level: what was agreed.
    """

    def __init__(self, proxy: Peer, context: "gssapi.SecurityContext | None" = None) -> None:
        self.socket = socket.create_connection(proxy, SECONDS)
        self.context = context
        self.level = NONE
        self._plain = b""
        self.socket.sendall(b"\5\1\1")
        assert self.exactly(2) == b"\5\1"

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # Octets and messages

    def exactly(self, size: int) -> bytes:
        """:raises Aborted: the connection ends before."""
        octets = b""
        while len(octets) < size:
            more = self.socket.recv(size - len(octets))
            if not more:
                raise Aborted
            octets += more
        return octets

    def token(self, kind: int) -> bytes:
        """The token of the next message, which must be of this kind.

        :raises Aborted: it is an abort, or the end.
        """
        head = self.exactly(2)
        if head == bytes([1, ABORT]):
            assert self.socket.recv(1) == b"", "there is something behind an abort"
            raise Aborted
        assert head == bytes([1, kind]), head
        return self.exactly(int.from_bytes(self.exactly(2), "big"))

    # The handshake

    def log_in(self, level: int, is_nec: bool = False) -> int:
        """Everything before the request: establish the context, and propose a level.

        :param is_nec: as the reference implementation does, without protection.
        :returns: what the proxy chooses.
        """
        assert self.context is not None
        token = self.context.step()
        while token:
            self.socket.sendall(message(CONTEXT, token))
            token = None if self.context.complete else self.context.step(self.token(CONTEXT))
        assert self.context.complete
        offer = bytes([level])
        token = offer if is_nec else self.context.wrap(offer, False).message
        self.socket.sendall(message(PROTECTION, token))
        answer = self.token(PROTECTION)
        [self.level] = answer if is_nec else self.context.unwrap(answer).message
        return self.level

    # What follows

    def wrapped(self, data: bytes) -> bytes:
        """One encapsulated message, or the octets themselves where nothing is protected."""
        if self.level == NONE:
            return data
        assert self.context is not None
        token = self.context.wrap(data, self.level == CONFIDENTIALITY)
        assert token.encrypted == (self.level == CONFIDENTIALITY)
        return message(ENCAPSULATED, token.message)

    def unwrapped(self, token: bytes) -> bytes:
        assert self.context is not None
        result = self.context.unwrap(token)
        assert result.encrypted == (self.level == CONFIDENTIALITY)
        return result.message

    def send(self, data: bytes) -> None:
        size = MAX_TOKEN
        if self.level != NONE:
            assert self.context is not None
            size = self.context.get_wrap_size_limit(size, self.level == CONFIDENTIALITY)
        for start in range(0, len(data), size):
            self.socket.sendall(self.wrapped(data[start : start + size]))

    def _more(self) -> bytes:
        if self.level == NONE:
            return self.socket.recv(65536)
        first = self.socket.recv(1, socket.MSG_PEEK)
        return self.unwrapped(self.token(ENCAPSULATED)) if first else b""

    def receive(self, count: int) -> bytes:
        """Exactly so many octets, or all until the end."""
        while len(self._plain) < count and (more := self._more()):
            self._plain += more
        octets, self._plain = self._plain[:count], self._plain[count:]
        return octets

    def receive_all(self) -> bytes:
        """What comes until the end."""
        pieces = [self._plain, *iter(self._more, b"")]
        self._plain = b""
        return b"".join(pieces)

    def request(self, command: int, host: str = "0.0.0.0", port: int = 0) -> Peer:
        """Ask for a command.

        :returns: BND of the reply, which must be success, and for IPv4.
        """
        self.send(bytes([5, command, 0]) + address(host, port))
        while len(self._plain) < 10:
            self._plain += self._more() or b"\0" * 10
        assert self._plain[:4] == b"\5\0\0\1"
        bound, self._plain = split(self._plain[3:])
        return bound
