"""What passes between the rooms: who asks for what, and a verdict on that."""

import pytest

from socks5.access import ALLOWED, DENIED, Access, ClaimedAccess, Verdict
from tests.support.providers import ASKER


@pytest.mark.parametrize("verdict", [ALLOWED, DENIED])
def test_a_verdict_is_neither_true_nor_false(verdict: Verdict) -> None:
    with pytest.raises(TypeError, match="is_allowed"):
        bool(verdict)


@pytest.mark.parametrize("client", ["", "::1", "127.0.0.1", "198.51.100.7"])
def test_who_is_only_said_to_come_from_this_host_is_not_local(client: str) -> None:
    asker = ASKER._replace(client=client)
    assert Access(*asker).is_local == (client != "198.51.100.7")
    assert not ClaimedAccess(*asker).is_local
