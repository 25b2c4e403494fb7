"""Listeners behind a door, on real sockets of both paths and over TLS."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from socks5 import Door, Networks
from tests import sessions
from tests.certificates import self_signed
from tests.sessions import GREETING, NO_AUTHENTICATION, octets
from tests.sockets.clients import packed
from tests.sockets.wires import until

failures = sessions.failures

OURS = Door(clients=Networks.parse("127.0.0.1"))
OTHERS = Door(clients=Networks.parse("127.0.0.2"))


@pytest_twisted.ensureDeferred
async def test_client_of_the_networks_is_served(serve: Any) -> None:
    proxy = await serve(door=OURS)
    target = proxy.listen()
    client = await proxy.client(1, packed(*target.host), b"up")
    far, source = await target.accept()
    assert await client.reply() == (0, source)
    assert await far.receive(2) == b"up"
    client.end()
    assert await far.rest() == b""


@pytest.mark.parametrize("sent", [b"", GREETING])
@pytest_twisted.ensureDeferred
async def test_other_client_is_closed(serve: Any, sent: bytes) -> None:
    proxy = await serve(door=OTHERS)
    client = proxy.connect(proxy.address)
    client.send(sent)
    await until(client.sees_now)
    assert client.value() == b""
    await proxy.gone()
    assert proxy.counters.turned_away == {"network": 1}
    assert proxy.records == []


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_other_client_over_tls_is_closed(serve: Any, tmp_path: Path) -> None:
    pem = self_signed(tmp_path)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    proxy = await serve(endpoint=endpoint, door=OTHERS)
    client = proxy.connect(proxy.address)
    await until(client.sees_now)
    await proxy.gone()
    assert proxy.counters.turned_away == {"network": 1}


@pytest_twisted.ensureDeferred
async def test_client_on_a_unix_socket_is_of_no_network(serve: Any, tmp_path: Path) -> None:
    proxy = await serve(endpoint=f"unix:{tmp_path}/socks", door=OTHERS)
    client = proxy.connect(str(tmp_path / "socks"))
    client.send(GREETING + octets("05 01"))
    assert await client.receive(2) == NO_AUTHENTICATION
