"""What rules have said of one session, for its record and the counters. Where rules have no names there is none."""

from __future__ import annotations

from collections import Counter

from socks5.access import MOST_RULES, SessionInfo, Verdict
from socks5.protocol.address import Address


class Decisions:
    """What they have said so far.

    :param counts: matches by rule, of all sessions.
    """

    __slots__ = ("_counts", "_said", "_would")

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._said: dict[str | None, Verdict] = {}  # of each address
        self._would: tuple[str, ...] = ()  # of datagrams

    def of_request(self, verdict: Verdict, address: str | None) -> None:
        """Said of the request, or of an address of its target."""
        key = address if verdict.is_allowed else ""  # of refusals the last, however many peers come
        self._said.pop(key, None)
        self._said[key] = verdict
        if not verdict.is_allowed:
            self._count(verdict)

    def of_datagram(self, verdict: Verdict) -> None:
        """The last word on a datagram's target."""
        self._count(verdict)
        new = [rule for rule in verdict.would if rule not in self._would]
        self._would = (*self._would, *new)[:MOST_RULES]

    def _count(self, verdict: Verdict) -> None:
        for rule in {verdict.rule, *verdict.would, *verdict.agreed} - {""}:
            self._counts[rule] += 1

    @property
    def refusal(self) -> str:
        """The name of the rule that has refused last; "" if none has, or it has no name."""
        verdict = self._said.get("")
        return "" if verdict is None else verdict.rule

    def decided(self, far: Address | None) -> Verdict | None:
        """What has decided: of the address that was reached, or else the last word.

        :param far: the address that was reached.
        """
        if far is None:
            return next(reversed(self._said.values()), None)
        verdict = self._said.get(far.text)
        return verdict if verdict is not None and verdict.rule else self._said.get(None, verdict)

    def settle(self, far: Address | None) -> Verdict | None:
        """The request has succeeded.

        :returns: what has decided.
        """
        verdict = self.decided(far)
        if verdict is not None:
            self._said = {None: verdict}
            self._count(verdict)
        return verdict

    def tell(self, info: SessionInfo, far: Address | None) -> None:
        """Put it into a record."""
        verdict = self.decided(far)
        if verdict is not None:
            info.rule, info.would = verdict.rule or None, verdict.would
        if self._would:
            info.would = (*info.would, *self._would)
