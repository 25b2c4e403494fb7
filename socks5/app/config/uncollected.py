"""Reading without a look for garbage meanwhile: nothing of a file becomes any, and Python would look through all of it
again and again. That is a quarter of the time for ten thousand rules, and while it looks, no other thread goes on.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Have cycles of garbage stay until it is over; also a decorator."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
