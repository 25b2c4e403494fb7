"""The contracts of those who say how much there may be of what is allowed."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from socks5.access import Access


class ILease(Interface):
    """One session's part in limits, from its request to its end."""

    is_metered: bool = Attribute(
        "Whether rates or quotas are among them: only then it is asked and told what moves."
    )
    slowed: float = Attribute("Seconds that the session was to wait so far.")
    why: str = Attribute('What ended it: "limit NAME: quota is used up until DATE", else "".')
    ended: Callable[[], object] | None = Attribute(
        "Called, within a second, when a quota is used up by others, and by a relay that is told so by :meth:`moved`; "
        "set by whoever has the lease."
    )

    def room(is_up: bool) -> int:
        """How many octets may be moved in one direction before the next call of :meth:`moved`. Whoever asks does not
        wait any more.
        """

    def grain(is_up: bool) -> int:
        """How many octets that move bit by bit, while others move some as well, may be told of together."""

    def moved(up: int, down: int) -> float:
        """So many octets have been moved since the last call.

        :returns: seconds to wait before more are moved in those directions; infinite: the session is to end, see
            :attr:`why`.
        """

    def leave(up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        """The session is over; said once. What moves afterwards still counts.

        :param up: octets since the last call of :meth:`moved`, which nobody waits for; they may be charged later.
        :param down: the same in the other direction.
        :param has_begun: False: another limit has turned it away, so it was no new session.
        """


class ILimits(Interface):
    """Says how much there may be of what is allowed."""

    def enter(access: Access) -> ILease | None:
        """One more session.

        :param access: what it asks for. If its ``rule`` is "", the limits are those of the server, of the listener and
            of the user's groups, else those of the rule that are not among these.
        :returns: None: one of the limits is reached. Nothing is taken then.
        """

    def why(access: Access) -> str:
        """Behind a None, in a few words, which one: "limit NAME: 50 sessions"."""

    def open() -> None:
        """The process begins: read what was used of quotas. Said again, it does nothing.

        :raises OSError: they cannot be read, or not be written later; its ``filename`` is the file's, its ``strerror``
            says why.
        """

    def close() -> Deferred[None]:
        """The process ends: save what is used of quotas.

        :returns: fires with None when that is done, or has failed, which is logged.
        """

    def begin(before: ILimits | None, reached: MutableMapping[str, int]) -> None:
        """These limits are in force from now on.

        :param before: in the place of those. Limits of the same name keep what is counted, quotas what is used, and the
            file where that stands. If those are open, these are from now on.
        :param reached: where to count how often each limit has refused or held somebody, by its name.
        :raises OSError: as :meth:`open`; then everything is as before.
        """

    def end() -> None:
        """No limits are in force any more: these hold nobody from now on, not whoever has entered either."""
