"""Proxies in a network of a test's own: clients that are connected over a link-local IPv6 address, whose zone is part
of it, and a machine with several addresses.
"""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

UNSHARE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


def objection() -> str:
    """Why there can be no network of a test's own; "" if there can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def told_by(module: str, *arguments: str) -> Any:
    """What a module of this package writes that runs in a network of its own."""
    why_not = objection()
    if why_not:
        pytest.skip(why_not)
    command = [*UNSHARE, sys.executable, "-m", f"tests.process.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_association_over_a_link_local_address_works() -> None:
    told = told_by("link_local")
    assert told == {"bound": "fe80::1", "up": "ping", "down": "pong"}


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("198.51.100.1", True),
        ("198.51.100.2", True),  # a secondary one, whose source is the first
        ("198.51.100.77", True),  # a whole network on the loopback is
        ("203.0.113.9", False),
        ("2001:db8::9", False),
    ],
)
def test_every_address_of_a_machine_is_its_own(host: str, is_own: bool) -> None:
    assert told_by("addresses", host) == ([host] if is_own else [])
