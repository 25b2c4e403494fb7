"""The tables of what may follow what; that the machines keep to them is tested with each."""

import pytest

from socks5.protocol.stages import (
    CHAP_NEXT,
    CLIENT_NEXT,
    GSSAPI_NEXT,
    PASSWORD_NEXT,
    SERVER_NEXT,
    Stage,
)
from tests.support.negotiations import Table

ENDS = {Stage.ESTABLISHED, Stage.LOGGED_IN, Stage.CLOSED}

every_table = pytest.mark.parametrize(
    "table",
    [SERVER_NEXT, CLIENT_NEXT, PASSWORD_NEXT, CHAP_NEXT, GSSAPI_NEXT],
    ids=["server", "client", "password", "CHAP", "GSSAPI"],
)


@every_table
def test_every_stage_is_reached_from_the_first_and_all_are_in_the_table(table: Table) -> None:
    reached: set[Stage] = set()
    ahead = {next(iter(table))}
    while ahead:
        reached |= ahead
        ahead = set().union(*(table[stage] for stage in ahead)) - reached
    assert reached == table.keys()


@every_table
def test_only_the_last_stages_lead_nowhere_and_there_are_two(table: Table) -> None:
    ends = {stage for stage, following in table.items() if not following}
    assert ends == ENDS & table.keys()
    assert len(ends) == 2


@every_table
def test_no_stage_is_entered_twice(table: Table) -> None:
    """Without a circle, a peer cannot keep a negotiation going. The one that there is, for the tokens of a context,
    is counted: see the flows with endless tokens.
    """
    counted = {(Stage.CHECKING, Stage.CONTEXT), (Stage.CONTEXT, Stage.TOKEN)}

    def longest(stage: Stage, way: tuple[Stage, ...]) -> None:
        assert stage not in way
        for following in table[stage]:
            if (stage, following) not in counted:
                longest(following, (*way, stage))

    longest(next(iter(table)), ())
