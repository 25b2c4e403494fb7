"""What tests of the running program share."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.interop.servers import serving
from tests.process.manager import Manager


def pytest_itemcollected(item: pytest.Item) -> None:
    """What is tested runs in other processes, which coverage does not see."""
    item.add_marker("no_cover")


class Echo(ThreadingTCPServer):
    """Sends back what it receives, in a thread for each connection."""

    daemon_threads = True
    request_queue_size = 1024


class Echoing(BaseRequestHandler):
    """Of one connection."""

    def handle(self) -> None:
        with suppress(OSError):
            while octets := self.request.recv(65536):
                self.request.sendall(octets)


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Where a server echoes."""
    with Echo(("127.0.0.1", 0), Echoing) as server, serving(server):
        yield server.server_address


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()
