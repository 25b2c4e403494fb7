"""The machines that ordinary sessions share."""

import pytest

from socks5.protocol import ordinary
from socks5.protocol.address import Address
from socks5.protocol.messages import Reply
from socks5.protocol.stages import Stage

SHARED = [ordinary.UNBEGUN, ordinary.GREETED, ordinary.ASKED, ordinary.ESTABLISHED]


@pytest.mark.parametrize("shared", SHARED)
def test_whoever_tells_one_something_has_his_own(shared: ordinary.ServerNegotiation) -> None:
    stage = shared.stage
    own, other = ordinary.own(shared), ordinary.own(shared)
    assert own is not other
    own.receive(b"\5")
    assert (own.pending, other.pending, shared.pending) == (1, 0, 0)
    assert own.stage is other.stage is shared.stage is stage
    assert ordinary.own(own) is own


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_the_reply_says_an_address_as_it_is_meant(host: str, meant: str) -> None:
    assert ordinary.success_from((host, 443, 0, 0)) == Reply(0, Address(meant, 443)).encode()


def test_they_stand_where_their_names_say() -> None:
    stages = [Stage.GREETING, Stage.REQUEST, Stage.COMMAND, Stage.ESTABLISHED]
    assert [each.stage for each in SHARED] == stages
