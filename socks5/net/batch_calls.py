"""System calls by way of the C library: recvmmsg(2), sendmmsg(2) and sendmsg(2), which move batches of datagrams, and
setsockopt(2), of which Python's way for octets is long.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Any


def _load() -> Any:
    """The C library, if it has the calls. Its functions have no ``argtypes``, for to convert every argument
    takes longer than the call: addresses are given as ``c_void_p``.
    """
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        return None
    library = ctypes.PyDLL(None, use_errno=True)
    if not (hasattr(library, "recvmmsg") and hasattr(library, "sendmmsg")):
        return None
    library.sendmsg.restype = ctypes.c_ssize_t
    return library


_libc = _load()

recvmmsg: Any = getattr(_libc, "recvmmsg", None)
sendmmsg: Any = getattr(_libc, "sendmmsg", None)
sendmsg: Any = getattr(_libc, "sendmsg", None)
setsockopt: Any = getattr(_libc, "setsockopt", None)
"""None where the C library has not got them. To look them up in it each time would take an eighth of a call."""


def is_available() -> bool:
    """Whether this system has the calls."""
    return _libc is not None
