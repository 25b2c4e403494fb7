"""Clients that are connected over a link-local IPv6 address, whose zone is part of it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

UNSHARE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


def objection() -> str:
    """Why there can be no network of a test's own; "" if there can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def test_an_association_over_a_link_local_address_works() -> None:
    why_not = objection()
    if why_not:
        pytest.skip(why_not)
    command = [*UNSHARE, sys.executable, "-m", "tests.process.link_local"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"bound": "fe80::1", "up": "ping", "down": "pong"}
