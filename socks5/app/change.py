"""What a file that was read again changes in the process that it is for: listeners, policy, access log; or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from socks5.app.config.build import Made
from socks5.app.config.keys import Configuration
from socks5.app.config.tables import about
from socks5.app.config.values import as_toml
from socks5.app.configured import Configured
from socks5.app.exchange import Exchange, NotExchanged
from socks5.app.listeners import certificates_of
from socks5.app.reread import Source
from socks5.app.service import ProxyService, not_opened
from socks5.limits import ILimits
from socks5.net.openers import IPortOpener
from socks5.observe.accesslog import AccessLog
from socks5.settings import Capacity

_FIXED = {("server", "workers"), ("server", "state")}
"""Keys that hold for as long as a process lives, beside those of Capacity."""


def fixed(before: Made, after: Made) -> Iterator[str]:
    """What cannot change while the proxy runs, and would have to: a sentence each."""
    of_capacity = {each.name for each in fields(Capacity)}
    for section in fields(Configuration):
        old, new = (getattr(made.configuration, section.name) for made in (before, after))
        for each in fields(old) if hasattr(old, "__dataclass_fields__") else ():
            key = about(each)
            values = [getattr(table, each.name) for table in (old, new)]
            if (section.name, each.name) not in _FIXED and key.sets not in of_capacity:
                continue
            if values[0] != values[1]:
                told = (
                    "none" if value is None else as_toml(key.kind.show(value)) for value in values
                )
                yield f"{section.name}.{each.name}: {' -> '.join(told)} needs a restart"


class Change:
    """One of them. Nothing is different before :meth:`begin`.

    :param service: serves as was said before.
    :param opener: opens its ports.
    :param before: what is in force.
    :param after: what is to be.
    :param take: told what is in force then, and which sources are to be looked at from then on.
    :param keeps_log: whether it is this process that writes records.
    """

    log = Logger()

    def __init__(
        self,
        service: ProxyService,
        opener: IPortOpener,
        before: Configured,
        after: Configured,
        take: Callable[[Configured, Sequence[Source]], object],
        keeps_log: bool = True,
    ) -> None:
        self._service = service
        self._after = after
        self._take = take
        self._reactor = opener.reactor
        remedy = "; SIGUSR2 does that without refusing anybody" if service.hands_over else ""
        self._reasons = [f"{each}{remedy}" for each in fixed(before.made, after.made)]
        self._listeners = after.listeners(self._reactor)
        methods = after.made.logins.accepted
        self.exchange = Exchange(
            opener, service.factory, service.listeners, self._listeners, methods
        )
        """Of the listeners."""
        logs = [
            (each.made.access_log, each.made.configuration.log.format) for each in (before, after)
        ]
        self._is_log_another = keeps_log and logs[0] != logs[1]
        self._access_log: AccessLog | None = None

    def _look(self) -> None:
        """:raises NotExchanged: nothing may change now."""
        if self._service.objection:
            raise NotExchanged([self._service.objection])

    async def open(self) -> None:
        """Open what is needed, all of it or nothing.

        :raises NotExchanged: says what is in the way.
        """
        self._look()
        if self._reasons:
            raise NotExchanged(self._reasons)
        self.exchange.open()
        if self._is_log_another:
            access_log = self._after.access_log(self._reactor, self._after.worker)
            try:
                if access_log is not None:
                    access_log.open()
            except OSError as error:
                self.exchange.give_up()
                sentence = not_opened("a file that can be written", error)
                reason = self._after.made.document.problem(("log", "access"), sentence)
                raise NotExchanged([str(reason)]) from None
            self._access_log = access_log

    def give_up(self) -> None:
        """Close again what was opened."""
        self.exchange.give_up()
        if self._access_log is not None:
            self._access_log.close()

    def begin(self) -> Deferred[int]:
        """Let it hold.

        :returns: fires with how many sessions ended for that, when all are judged.
        :raises NotExchanged: it may not now, and nothing is different.
        """
        self._look()
        service, factory = self._service, self._service.factory
        limits = factory.in_force.limits
        factory.replace(self._after.policy_of_sessions(self._reactor), rejudge=False)
        self._open_limits(limits)
        service.exchange(self.exchange.begin())
        if self._is_log_another:
            before: Any = service.access_log
            service.access_log = self._access_log
            factory.record_in(self._access_log)
            if before is not None:
                before.close()
        self._take(self._after, [*self._after.sources, *certificates_of(self._listeners)])
        return factory.rejudge()  # at listeners that may be called otherwise

    def _open_limits(self, before: ILimits | None) -> None:
        """Read what was used of quotas, if there have been none yet. It is counted also where it cannot be read."""
        if before is not None and self._service.factory.in_force.limits is None:
            before.close()
        try:
            self._service.open_limits()
        except OSError as error:
            self.log.error(
                "quotas {path}: {reason}; they are counted all the same",
                path=error.filename,
                reason=error.strerror,
            )
