"""Ports that move batches, between a client and targets of each family."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from socks5.net import (
    batch,
    batch_down,
    batch_up,
)
from tests.sockets.batch.world import FAMILIES, Kernel, World
from tests.sockets.clients import Network


@pytest.fixture(params=[*FAMILIES, "IPv4, under limits"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    families, _, limits = request.param.partition(", ")
    with ExitStack() as stack:
        made = World(Network(stack), *FAMILIES[families], "held" if limits else "batch")
        stack.callback(made.close)
        yield made


@pytest.fixture(params=["batch", "single"])
def port(request: pytest.FixtureRequest, world: World) -> Any:
    """A port of each kind, towards targets: all keep one contract."""
    return world.port(False, request.param)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernel], None]:
    """Use another kernel."""

    def replace(kernel: Kernel) -> None:
        monkeypatch.setattr(batch, "sendmsg", kernel.sendmsg)
        for module in (batch, batch_up, batch_down):
            monkeypatch.setattr(module, "sendmmsg", kernel.sendmmsg)

    return replace
