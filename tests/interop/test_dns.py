"""Names looked up in a real name server, by datagrams: with a client of our own, and with dig.

dig knows no proxies, and dante's socksify cannot give it one (it sends with sendmmsg, which that
does not wrap); so dig asks a port of this process, which PySocks takes through the proxy.
"""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import socks

from tests.interop.association import Association
from tests.interop.conftest import NameServer
from tests.interop.processes import succeed
from tests.interop.programs import needs, require_program
from tests.interop.proxy import Proxy


def _ask(association: Association, host: str, server: NameServer) -> tuple[str, int]:
    """Look a name up at *host*; the address that the answer is said to come from."""
    association.send(host, server.port, server.query())
    sender, data = association.receive()
    assert server.answer(data) == [server.address]
    return sender


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_name_server_is_asked(proxy: Proxy, name_server: NameServer, host: str) -> None:
    with Association(proxy.address) as association:
        assert association.relay[0] == proxy.host
        assert _ask(association, host, name_server) == ("127.0.0.1", name_server.port)
    session = proxy.session()
    assert (session.command, session.target, session.reply) == ("udp", "0.0.0.0:0", 0)
    assert session.bytes_up == len(name_server.query())
    assert session.bytes_down > session.bytes_up
    assert session.dropped == 0


@pytest.mark.usefixtures("ipv6")
def test_targets_of_every_kind_in_one_association(proxy: Proxy, name_server: NameServer) -> None:
    with Association(proxy.address) as association:
        senders = [
            _ask(association, host, name_server)
            for host in ("127.0.0.1", "::1", "localhost", "::1", "127.0.0.1")
        ]
    assert [host for host, _ in senders] == ["127.0.0.1", "::1", "127.0.0.1", "::1", "127.0.0.1"]
    assert {port for _, port in senders} == {name_server.port}
    session = proxy.session()
    assert session.bytes_up == 5 * len(name_server.query())
    assert session.dropped == 0


@pytest.mark.usefixtures("ipv6")
def test_a_client_on_ipv6(proxy: Proxy, name_server: NameServer) -> None:
    with Association(("::1", proxy.port6)) as association:
        assert association.relay[0] == "::1"
        for host in ("127.0.0.1", "::1"):
            assert _ask(association, host, name_server) == (host, name_server.port)
        sender, _ = _ask(association, "localhost", name_server)
        assert sender in ("127.0.0.1", "::1")
    session = proxy.session()
    assert session.client.startswith("[::1]:")
    assert session.dropped == 0


@contextmanager
def _forwarded(proxy: Proxy, target: tuple[str, int]) -> Iterator[int]:
    """A UDP port on 127.0.0.1 for one client, whose datagrams go through the proxy to *target*."""
    stop = threading.Event()

    def forward() -> None:
        client: tuple[str, int] | None = None
        while not stop.is_set():
            for ready in select.select([near, far], [], [], 0.05)[0]:
                if ready is near:
                    data, client = near.recvfrom(65535)
                    far.sendto(data, target)
                elif client is not None:
                    near.sendto(far.recvfrom(65535)[0], client)

    with (
        socket.socket(type=socket.SOCK_DGRAM) as near,
        socks.socksocket(type=socket.SOCK_DGRAM) as far,
    ):
        near.bind(("127.0.0.1", 0))
        far.set_proxy(socks.SOCKS5, *proxy.address)
        far.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=forward)
        thread.start()
        try:
            yield near.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def _dig(port: int, *arguments: str) -> list[str]:
    how = ("-r", "@127.0.0.1", "-p", str(port), "+short", "+notcp", "+tries=1", "+time=5")
    return succeed(require_program("dig"), *how, *arguments).decode().splitlines()


@needs("dig")
@pytest.mark.parametrize("target", ["127.0.0.1", "localhost"])
def test_dig(proxy: Proxy, name_server: NameServer, target: str) -> None:
    with _forwarded(proxy, (target, name_server.port)) as port:
        assert _dig(port, "a.test", "A") == [name_server.address]
    session = proxy.session()
    assert session.command == "udp"
    assert session.bytes_down > session.bytes_up > 0
    assert session.dropped == 0


@needs("dig")
def test_dig_with_a_long_answer(proxy: Proxy, name_server: NameServer) -> None:
    with _forwarded(proxy, ("127.0.0.1", name_server.port)) as port:
        answer = _dig(port, "big.test", "TXT", "+bufsize=4096", "+ignore")
    assert sorted(answer) == [f'"{text}"' for text in name_server.texts]
    assert proxy.session().bytes_down > len("".join(name_server.texts))
