"""Dante's server, as a SOCKS5 proxy that lets everybody through."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.processes import poll, running
from tests.interop.programs import require_program
from tests.interop.servers import free_port, is_served

CONFIGURATION = """\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: {user}
user.unprivileged: {user}
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{
    from: 0.0.0.0/0 to: 0.0.0.0/0
    command: bind connect udpassociate bindreply udpreply
}}
"""


@contextmanager
def running_dante(directory: Path) -> Iterator[int]:
    """One on 127.0.0.1.

    :returns: its port.
    """
    program = require_program("danted", "sockd")
    directory.mkdir()
    port = free_port()
    configuration = directory / "danted.conf"
    user = pwd.getpwuid(os.getuid()).pw_name
    configuration.write_text(CONFIGURATION.format(port=port, user=user))
    with running(program, "-f", configuration, log=directory / "log") as process:
        poll(lambda: process.poll() is not None or is_served(port), "dante listens")
        assert process.poll() is None, (directory / "log").read_text()
        yield port
