"""A proxy in a network of the test's own: a client that is connected over a link-local IPv6 address, whose zone is part
of it, and a machine with several addresses.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

UNSHARE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]

OWN = ["198.51.100.1", "198.51.100.2", "198.51.100.77"]
"""One, a secondary one, whose source is the first, and the rest of their network: all of it is on the loopback."""


def objection() -> str:
    """Why there can be no network of a test's own; "" if there can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def test_every_address_is_its_own_and_an_association_over_a_link_local_one_works() -> None:
    if why_not := objection():
        pytest.skip(why_not)
    command = [*UNSHARE, sys.executable, "-m", "tests.process.machine"]
    words = [*OWN, "203.0.113.9", "2001:db8::9"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"own": OWN, "bound": "fe80::1", "up": "ping", "down": "pong"}
