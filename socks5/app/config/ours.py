"""Where the proxy listens itself, as far as a file says that."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import cast

from typing_extensions import override

from socks5.net.own import is_own_address
from socks5.net.places import TCP, UNIX

ANYWHERE = ("", "0.0.0.0", "::")


class Ours(Container[tuple[str, int]]):
    """Its TCP ports: an IP literal and a port are in it if a connection there comes to the proxy.

    :param wheres: what it listens on.
    """

    def __init__(self, wheres: Iterable[object]) -> None:
        wheres = list(wheres)
        self._tcp = [each for each in wheres if isinstance(each, TCP)]
        self.unix = {each.path for each in wheres if isinstance(each, UNIX)}
        """Paths of its UNIX sockets."""

    @override
    def __contains__(self, place: object) -> bool:
        address, port = cast(tuple[str, int], place)
        return any(
            each.port == port
            and (
                each.interface == address
                or (each.interface in ANYWHERE and is_own_address(address, unknown=False))
            )
            for each in self._tcp
        )
