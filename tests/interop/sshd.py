"""An sshd of the test's own, and ssh as its client."""

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.processes import listening, succeed
from tests.interop.programs import require_program
from tests.support.ports import free_port

USER = pwd.getpwuid(os.getuid()).pw_name

CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {host_key}
AuthorizedKeysFile {key}.pub
AuthenticationMethods publickey
PidFile none
# The directory is whoever's:
StrictModes no
UsePAM no
# No other name is looked up:
PermitOpen 127.0.0.1:* localhost:*
"""

Line = Callable[..., list[str | Path]]


@contextmanager
def running_sshd(directory: Path) -> Iterator[Line]:
    """One on 127.0.0.1 that lets this user in with one key.

    :returns: the command line of ssh, for a host and with options, of which the words of a command may follow.
    """
    program, port = require_program("sshd"), free_port()
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where its unprivileged part lives
    key, host_key = directory / "user_key", directory / "host_key"
    for file in (key, host_key):
        succeed(require_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", file)
    known_hosts, configuration = directory / "known_hosts", directory / "sshd_config"
    public = host_key.with_suffix(".pub").read_text()
    known_hosts.write_text(f"[127.0.0.1]:{port},[localhost]:{port} {public}")
    configuration.write_text(CONFIGURATION.format(port=port, host_key=host_key, key=key))

    def line(host: str, **options: str) -> list[str | Path]:
        options |= {
            "UserKnownHostsFile": str(known_hosts),
            "GlobalKnownHostsFile": "none",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        said = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        ssh = require_program("ssh")
        return [ssh, "-F", "none", "-i", key, "-p", str(port), *said, f"{USER}@{host}"]

    command = (program, "-D", "-e", "-f", configuration)
    with listening(*command, port=port, log=directory / "log"):
        yield line
