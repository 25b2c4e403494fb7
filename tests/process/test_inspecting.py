"""Commands that look at a file, as processes: a name is resolved, and who stops reading sees no traceback."""

import os
import subprocess
from pathlib import Path

from tests.process.program import MODULE

FILE = """\
[[rule]]
name = "this-host"
action = "allow"
networks = "@loopback"
unguarded = true
"""


def test_explain_asks_as_the_proxy_would(tmp_path: Path) -> None:
    (tmp_path / "socks5.toml").write_text(FILE)
    command = [*MODULE, "explain", "socks5.toml", "--client", "192.0.2.9", "--to", "localhost:80"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "address 127.0.0.1, resolved now\n" in done.stdout
    assert done.stdout.endswith("\nallowed by this-host\n")
    assert done.stderr == ""


def test_who_stops_reading_sees_no_traceback(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [*MODULE, "schema"]
    done = subprocess.run(command, cwd=tmp_path, stdout=writes, stderr=subprocess.PIPE, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, b"")
