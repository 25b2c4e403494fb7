"""What rules have said of a session, where a dialer of somebody's own has not asked them everything."""

from collections import Counter

from socks5 import Verdict
from socks5.access import SessionInfo
from socks5.protocol.address import Address
from socks5.server.decisions import Decisions

FAR = Address("192.0.2.80", 80)


def test_a_success_that_no_rule_has_allowed_is_nobody_s() -> None:
    counts: Counter[str] = Counter()
    decisions = Decisions(counts)
    info = SessionInfo(1, "")
    decisions.tell(info, None)
    decisions.of_request(Verdict(False, "them"), "192.0.2.81")
    assert decisions.settle(FAR) is None
    decisions.tell(info, FAR)
    assert (info.rule, info.would, counts) == (None, (), {"them": 1})
    assert decisions.refusal == "them"


def test_an_address_whose_verdict_has_no_name_is_the_request_s() -> None:
    decisions = Decisions(Counter())
    request = Verdict(True, "web")
    decisions.of_request(request, None)
    decisions.of_request(Verdict(True), FAR.text)
    assert decisions.refusal == ""
    assert decisions.settle(FAR) is request
