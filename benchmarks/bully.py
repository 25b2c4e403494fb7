"""One bully of the neighbours' benchmark, as a process.

``python -m benchmarks.bully NAME JSON`` plays it until it is ended. All of them stay on loopback, and each has so
many sockets as its line says, and no more.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from benchmarks import bullies_handshakes, bullies_targets, bullies_udp  # noqa: F401  (they enter the list)
from benchmarks.bullying import BULLIES, Aim

LIFETIME = 120
POLITENESS = 10
"""How far others go before it and its target on the core that they share."""


async def _play(name: str, order: dict[str, Any]) -> None:
    await BULLIES[name].act(Aim(**order))


def main() -> None:
    """Play one until the end."""
    signal.alarm(LIFETIME)
    os.nice(POLITENESS)
    asyncio.run(_play(sys.argv[1], json.loads(sys.argv[2])))


if __name__ == "__main__":
    main()
