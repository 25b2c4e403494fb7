"""Files that cannot be read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def unreadable(number: int) -> Iterator[None]:
    """Files that an operator keeps cannot be opened, for that reason."""

    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    with patch.object(os, "open", refuse):
        yield
