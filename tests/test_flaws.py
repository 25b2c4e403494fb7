"""Several things that are wrong, said at once."""

import pytest

from socks5.flaws import Flaw, Flaws, together


def raising(flaw: Flaw) -> None:
    raise flaw


def test_what_is_wrong_with_one_hides_nothing_of_another() -> None:
    flaws = Flaws()
    assert flaws.of(lambda: raising(together([Flaw("a"), Flaw("b")]))) is None
    assert flaws.of(lambda: 7) == 7
    flaws.add(Flaw("c"))
    with pytest.raises(Flaw) as raised:
        flaws.end()
    assert [each.sentence for each in raised.value.all] == ["a", "b", "c"]
    assert str(raised.value) == "a; b; c"
    assert str(raised.value.others[1]) == "c"


def test_where_nothing_is_wrong_nothing_is_raised() -> None:
    flaws = Flaws()
    assert flaws.of(lambda: 7) == 7
    flaws.end()
