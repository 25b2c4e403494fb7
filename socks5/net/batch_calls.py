"""The system calls that move batches of datagrams: recvmmsg(2), sendmmsg(2) and sendmsg(2), by way of the C library."""

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


libc = _load()
"""The C library; None where it has not got them."""


def is_available() -> bool:
    """Whether this system has the calls."""
    return libc is not None
