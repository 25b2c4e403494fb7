"""Where to listen, as plain values: two lists of :class:`Listen` can be compared.

Nothing here opens anything; that is :mod:`socks5.net.listening`'s and an opener's (:mod:`socks5.net.openers`).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address

from socks5.net.certificate_files import Files
from socks5.protocol.address import unmap
from socks5.settings import ListenerPolicy

BACKLOG = 65535
"""Clients in the kernel's queue; the system allows fewer (net.core.somaxconn). Who finds it full comes again after a
second, whoever has filled it."""


def is_loopback(interface: str) -> bool:
    """Whether only this host can reach a listener on *interface*: an IP literal, ``localhost``, or
    "" for all.
    """
    try:
        return interface == "localhost" or ip_address(unmap(interface)).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class TCP:
    """A TCP port.

    :param port: 0: one that is free.
    :param interface: an IP literal, or a name for one; "": all of IPv4.
    :param backlog: clients in the kernel's queue.
    """

    port: int
    interface: str = ""
    backlog: int = BACKLOG

    @property
    def is_exposed(self) -> bool:
        """See :attr:`Listen.is_exposed`."""
        return not is_loopback(self.interface)


@dataclass(frozen=True, slots=True)
class UNIX:
    """A UNIX socket.

    :param path: its name in the file system.
    :param mode: who may connect, as of a file.
    :param is_locked: whether a lock file beside it tells that it is in use, so that one which was left behind is
        replaced.
    :param backlog: clients in the kernel's queue.
    """

    path: str
    mode: int = 0o666
    is_locked: bool = True
    backlog: int = BACKLOG

    @property
    def is_exposed(self) -> bool:
        """See :attr:`Listen.is_exposed`."""
        return False


@dataclass(frozen=True, slots=True)
class Inherited:
    """A socket that listens already, opened by somebody else, such as systemd.

    :param name: what tells it from others, for its number differs from process to process.
    :param descriptor: its number, which stays open; None in a process that has it by another way.
    """

    name: str
    descriptor: int | None = field(default=None, compare=False, repr=False)

    def duplicate(self) -> socket.socket:
        """The socket, at a number of its own.

        :raises OSError: there is no such descriptor, or it is no socket.
        """
        return socket.socket(fileno=os.dup(-1 if self.descriptor is None else self.descriptor))

    @property
    def is_exposed(self) -> bool:
        """See :attr:`Listen.is_exposed`."""
        try:
            with self.duplicate() as sock:
                return sock.family != socket.AF_UNIX and not is_loopback(sock.getsockname()[0])
        except OSError:
            return True


@dataclass(frozen=True, slots=True)
class Foreign:
    """Whatever a server endpoint of Twisted's, or of a plugin of its, listens on.

    :param description: the string that describes the endpoint.
    :param is_exposed: see :attr:`Listen.is_exposed`.
    """

    description: str
    is_exposed: bool = True


Place = TCP | UNIX | Inherited | Foreign
"""Whatever can be listened on."""


def canonical(interface: str) -> str:
    """An address in one spelling; a name as it is."""
    try:
        return str(ip_address(unmap(interface or "0.0.0.0")))
    except ValueError:
        return interface


def can_share_clients(one: str, other: str) -> bool:
    """Whether a client could reach both addresses, on one port: ``::`` is IPv4, too."""
    hosts = {canonical(one), canonical(other)}
    if len(hosts) == 1 or "::" in hosts:
        return True
    return "0.0.0.0" in hosts and not any(":" in each for each in hosts)


def name_of(where: Place) -> str:
    """What processes call a place, however it is spelled and whatever its listener is else. Those of one name cannot
    both be open, but for free ports, which are all alike.
    """
    if isinstance(where, TCP):
        return f"[{canonical(where.interface)}]:{where.port}"
    if isinstance(where, UNIX):
        return f"unix:{os.path.abspath(where.path)}"
    if isinstance(where, Inherited):
        return f"inherited:{where.name}"
    return f"endpoint:{where.description}"


@dataclass(frozen=True, slots=True)
class Listen:
    """One listener.

    :param where: what clients connect to.
    :param tls: the certificates, if they speak TLS there.
    :param policy: what it lets in.
    """

    where: Place
    tls: Files | None = None
    policy: ListenerPolicy = field(default_factory=ListenerPolicy)

    @property
    def is_exposed(self) -> bool:
        """Whether others than this host can reach it; when in doubt, yes. A balancer brings them in wherever it
        listens itself.
        """
        return self.where.is_exposed or self.policy.proxies is not None

    @property
    def is_authenticated(self) -> bool:
        """Whether nobody gets in without a certificate."""
        return self.tls is not None and self.tls.clients is not None and self.tls.is_required
