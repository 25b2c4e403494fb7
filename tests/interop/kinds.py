"""What proxies of other hands do, a row each."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from socks5.client import (
    ClientError,
    CommandNotSupported,
    ConnectionRefused,
    GeneralFailure,
    HostUnreachable,
    ProxyAuthError,
    ProxyClosed,
    ProxyProtocolError,
)
from tests.interop import others as programs
from tests.interop.others import Start
from tests.interop.programs import needs
from tests.support.skips import needs_asyncio_socks, needs_pproxy

CONNECTED = 0
CLOSES = -1
"""Not a word, but the end, where a reply is due."""

NO_LOGIN = -2
"""The login is refused."""

LIES = -3
"""The reply is none to what was asked for."""

ERRORS: dict[int, type[ClientError]] = {
    CLOSES: ProxyClosed,
    NO_LOGIN: ProxyAuthError,
    LIES: ProxyProtocolError,
    1: GeneralFailure,
    4: HostUnreachable,
    5: ConnectionRefused,
    7: CommandNotSupported,
}


class Kind(NamedTuple):
    """What a program does. Numbers are REP, or what HTTP's status comes to.

    :ivar bound: what it says of where it connects from: ``source``, which is true; ``nothing``, where the ``proxy``
        itself is, or the ``target``.
    :ivar refused: of a target that refuses; :data:`CONNECTED`: it says so before it tries.
    :ivar unknown: of a name that there is not; None: likewise.
    :ivar bind: of BIND.
    :ivar resolve: of RESOLVE and RESOLVE_PTR.
    :ivar datagrams: how large they may be through it.
    :ivar udp: of UDP ASSOCIATE where there are none.
    :ivar wrong: of a wrong password.
    """

    start: Start
    scheme: str = "socks5"
    has_login: bool = False
    bound: str = "source"
    refused: int = 5
    unknown: int | None = 4
    bind: int = 7
    resolve: int = 7
    datagrams: int = 0
    udp: int = 7
    wrong: int = NO_LOGIN


HTTP = Kind(programs.tinyproxy, "http", has_login=True, bound="nothing")
KINDS = {
    "dante": Kind(programs.dante, bind=CONNECTED, resolve=CLOSES, datagrams=60000),
    "microsocks": Kind(programs.microsocks, has_login=True, bound="nothing", unknown=1),
    "ssh": Kind(
        programs.ssh,
        bound="nothing",
        refused=CLOSES,
        unknown=CLOSES,
        bind=CLOSES,
        resolve=CLOSES,
        udp=CLOSES,
    ),
    "v2ray": Kind(
        programs.v2ray,
        bound="proxy",
        refused=CONNECTED,
        unknown=None,
        resolve=LIES,
        datagrams=2038,
    ),
    "shadowsocks": Kind(
        programs.shadowsocks, bound="nothing", refused=CONNECTED, unknown=None, datagrams=1472
    ),
    "tinyproxy": HTTP._replace(refused=1, unknown=1),
    "squid": HTTP._replace(start=programs.squid, refused=4, unknown=1),
    "pproxy": Kind(
        programs.pproxy,
        has_login=True,
        bound="target",
        refused=CONNECTED,
        unknown=None,
        bind=CLOSES,
        resolve=CLOSES,
        udp=CLOSES,
        wrong=CLOSES,
    ),
    "pproxy-http": HTTP._replace(start=programs.pproxy, refused=CLOSES, unknown=CLOSES),
    "asyncio-socks": Kind(programs.asyncio_socks, has_login=True, datagrams=60000),
}
MARKS = {
    "dante": needs("danted", "sockd"),
    "ssh": needs("sshd"),
    "shadowsocks": needs("ss-server"),
    "pproxy": needs_pproxy,
    "pproxy-http": needs_pproxy,
    "asyncio-socks": needs_asyncio_socks,
}


def of_those(wanted: Callable[[Kind], object]) -> pytest.MarkDecorator:
    """With each program of which that is true."""
    found = [
        pytest.param(name, marks=MARKS.get(name, needs(name)), id=name)
        for name, kind in KINDS.items()
        if wanted(kind)
    ]
    return pytest.mark.parametrize("kind", found, indirect=True)


def is_socks(kind: Kind) -> bool:
    return kind.scheme == "socks5"
