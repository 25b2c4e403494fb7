"""Dante's server, as a SOCKS5 proxy that lets everybody through."""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.interop.processes import listening
from tests.interop.programs import require_program
from tests.support.ports import free_port

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
def running_dante(directory: Path, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """One on 127.0.0.1.

    :param directory: where it may write.
    :returns: its port.
    """
    program = require_program("danted", "sockd")
    port = free_port()
    configuration = directory / "danted.conf"
    user = pwd.getpwuid(os.getuid()).pw_name
    configuration.write_text(CONFIGURATION.format(port=port, user=user))
    with listening(program, "-f", configuration, port=port, log=directory / "log", env=env):
        yield port
