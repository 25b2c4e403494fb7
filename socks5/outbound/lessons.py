"""What a failure on a way through proxies says of that way, and of whether another one may be tried."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

from socks5.client.errors import ClientError, ProxyAuthError, ProxyProtocolError, ReplyError
from socks5.client.hops import Hop

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class NotThrough(Exception):
    """A way did not lead to the target.

    :param error: why.
    :param may_go_on: whether another one may be tried: this one's last proxy has not been asked for the target.
    """

    def __init__(self, error: ClientError, may_go_on: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.may_go_on = may_go_on


class Lesson(NamedTuple):
    """What a failure teaches.

    :param is_failure: whether it is one of the way's.
    :param is_final: whether the way is of no use, and that is no chance.
    :param is_success: whether it shows that the way is in order.
    :param may_go_on: see :class:`NotThrough`.
    """

    is_failure: bool = False
    is_final: bool = False
    is_success: bool = False
    may_go_on: bool = False


def lesson(error: ClientError, hops: Sequence[Hop]) -> Lesson:
    """What a failure on the way through *hops* teaches."""
    last = hops[-1]
    if isinstance(error, ReplyError):  # the last one's, for another one's is about the next hop
        return Lesson(is_success=True)
    is_last = error.hop == len(hops)
    has_asked = is_last and error.stage == "reply"
    is_written = has_asked or (is_last and last.is_pipelined and error.stage in ("method", "login"))
    if isinstance(error, ProxyAuthError):  # the request is refused with it
        return Lesson(
            is_failure=True, is_final=True, may_go_on=not last.is_pipelined or not is_last
        )
    if isinstance(error, ProxyProtocolError) and (not has_asked or last.is_http):
        return Lesson(is_failure=True, is_final=True, may_go_on=not is_written)
    if has_asked or _is_ours(error.__cause__):
        return Lesson(may_go_on=not has_asked)
    return Lesson(is_failure=True, may_go_on=not is_written)


def _is_ours(cause: BaseException | None) -> bool:
    """Whether nothing was opened, for this host has no more, which one client may have used up: no way is to blame."""
    number = getattr(cause, "osError", None) or getattr(cause, "errno", None)
    return number in _OUT_OF_RESOURCES
