"""A reactor that stops while a program waits for proxies."""

import json
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[2]


def test_whoever_waits_is_told_and_nothing_else_is_said() -> None:
    """But for who waits for a look-up here, of whom Twisted tells nobody then."""
    words = [sys.executable, "-m", "tests.client.stopping"]
    program = subprocess.run(
        words, capture_output=True, check=True, text=True, timeout=60, cwd=SOURCES
    )
    assert json.loads(program.stdout) == {
        "connect": "ProxyUnreachable connect",
        "tls": "ProxyUnreachable tls",
        "method": "ProxyClosed method",
        "login": "ProxyClosed login",
        "reply": "ProxyClosed reply",
        "second hop": "ProxyClosed method",
        "peer": "ProxyClosed peer",
        "udp": "ProxyClosed reply",
        "web": "ProxyClosed reply",
        "through": "ConnectionLost",
    }
    assert not [word for word in ("Traceback", "Unhandled", "#critical") if word in program.stderr]
