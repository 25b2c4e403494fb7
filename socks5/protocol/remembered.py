"""Messages that have come before and are not decoded again: a few programs make most of the clients, and they ask for
the same targets again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

_Found = TypeVar("_Found")


class Remembered(dict[bytes, "tuple[_Found, int] | None"], Generic[_Found]):
    """What octets mean, by the octets: looks up what came before, and decodes the rest.

    Nothing stands in it that came behind a message: that may be a password.

    :param decode: gives what the octets begin with and how many it used, or None while some are missing.
    :param most: messages that are remembered; if there are more, it begins anew.
    """

    def __init__(
        self, decode: Callable[[bytes], tuple[_Found, int] | None], most: int = 1024
    ) -> None:
        super().__init__()
        self._decode = decode
        self._most = most

    def __missing__(self, buffer: bytes) -> tuple[_Found, int] | None:
        found = self._decode(buffer)
        if found is not None and found[1] == len(buffer):
            if len(self) >= self._most:
                self.clear()
            self[buffer] = found
        return found
