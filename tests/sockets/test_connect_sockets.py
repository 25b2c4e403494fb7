"""CONNECT on real sockets: what the system makes of replies, ends and resets."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.sockets.clients import Far, Proxy, packed
from tests.sockets.wires import until
from tests.support import sessions
from tests.support.providers import Allow

BOTH_FAMILIES = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


async def connected(proxy: Proxy, host: str = "127.0.0.1", more: bytes = b"") -> tuple[Far, Far]:
    """A client, and its target's end of the connection."""
    target = proxy.listen(host)
    client = await proxy.client(1, packed(*target.host), more)
    far, source = await target.accept()
    assert await client.reply() == (0, source)
    return client, far


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_reply_has_the_address_that_the_target_sees(serve: Any, host: str) -> None:
    client, far = await connected(await serve(), host)
    client.send(b"up")
    far.send(b"down")
    assert await far.receive(2) == b"up"
    assert await client.receive(4) == b"down"


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_urgent_octets_stay_in_their_place(serve: Any, host: str) -> None:
    """As FTP's ABOR, whose last octet is one."""
    client, far = await connected(await serve(), host)
    for sender, receiver in ((client, far), (far, client)):
        sender.send(b"RETR file\r\n")
        sender.urge(b"ABOR\r\n")
        sender.send(b"QUIT\r\n")
        assert await receiver.receive(23) == b"RETR file\r\nABOR\r\nQUIT\r\n"


@pytest_twisted.ensureDeferred
async def test_an_urgent_octet_of_a_client_on_a_unix_socket_stays_in_its_place(
    serve: Any, tmp_path: Path
) -> None:
    proxy = await serve(endpoint=f"unix:{tmp_path}/socks", rules=Allow())
    target = proxy.listen()
    client = await proxy.client(1, packed(*target.host), address=str(tmp_path / "socks"))
    far, _ = await target.accept()
    client.urge(b"ABOR\r\n")
    client.send(b"QUIT\r\n")
    assert await far.receive(12) == b"ABOR\r\nQUIT\r\n"


@pytest_twisted.ensureDeferred
async def test_an_urgent_octet_of_a_message_is_one_of_the_message(serve: Any) -> None:
    proxy = await serve()
    client = proxy.connect(proxy.address)
    client.urge(sessions.GREETING)
    assert await client.receive(2) == sessions.NO_AUTHENTICATION
    client.urge(b"\x05\x01\x00" + packed(*proxy.refusing()))
    assert await client.rest() == sessions.refusal(5)


@pytest_twisted.ensureDeferred
async def test_an_end_passes_and_the_other_direction_goes_on(serve: Any) -> None:
    proxy = await serve()
    client, far = await connected(proxy)
    client.send(b"a question")
    client.end()
    assert await far.rest() == b"a question"
    far.send(b"an answer")
    far.close()
    assert await client.rest() == b"an answer"
    assert (far.sees, client.sees) == ("end", "end")
    await proxy.gone()
    assert [(record.bytes_up, record.bytes_down) for record in proxy.records] == [(10, 9)]


@pytest_twisted.ensureDeferred
async def test_refused_connection_gets_reply_5(serve: Any) -> None:
    proxy = await serve()
    client = await proxy.client(1, packed(*proxy.refusing()))
    assert await client.rest() == sessions.refusal(5)
    assert client.sees == "end"


@pytest_twisted.ensureDeferred
async def test_octets_behind_a_failed_request_do_not_destroy_the_reply(serve: Any) -> None:
    """Unread octets would turn our close into a reset, which can overtake the reply."""
    proxy = await serve()
    client = await proxy.client(1, packed(*proxy.refusing()), b"x" * 10_000)
    await until(lambda: proxy.counters.replies[5])
    client.send(b"x" * 100_000)
    assert await client.rest() == sessions.refusal(5)
    client.send(b"x" * 100_000)
    client.close()
    await proxy.gone()
    assert client.sees == "end"
