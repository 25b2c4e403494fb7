"""Names looked up in a real name server, by datagrams, with a client of our own."""

import pytest

from tests.interop.association import Association
from tests.interop.conftest import NameServer
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
