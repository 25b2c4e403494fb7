"""Whether garbage is looked for while a file is read."""

import gc
from collections.abc import Iterator

import pytest

from socks5.app.config.uncollected import uncollected


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Let the other tests find it as it was."""
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


def test_nobody_looks_meanwhile_and_then_as_before() -> None:
    gc.enable()
    assert not uncollected()(gc.isenabled)()
    with pytest.raises(ZeroDivisionError), uncollected():
        1 / 0  # noqa: B018
    assert gc.isenabled()


def test_who_has_it_disabled_keeps_it_so() -> None:
    gc.disable()
    with uncollected(), uncollected():
        assert not gc.isenabled()
    assert not gc.isenabled()
