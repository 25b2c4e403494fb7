"""What tests of the running program share."""

from collections.abc import Iterator

import pytest

from tests.process.program import Echo


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Where a server echoes."""
    server = Echo()
    yield server.address
    server.close()
