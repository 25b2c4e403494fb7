"""A Kerberos realm for tests: MIT's KDC on loopback, everything that it needs in a directory of its own.

Nothing of the machine's own Kerberos is read or changed.
"""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.interop.processes import poll, running, succeed
from tests.interop.programs import require_program
from tests.interop.servers import free_port
from tests.support.kerberos import REALM

PASSWORD = "correct horse"
TWO_DAYS = 2 * 86_400

PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")

_CLIENTS = """
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  qualify_shortname = ""
  udp_preference_limit = 1
  default_ccache_name = FILE:{directory}/no-tickets
  default_keytab_name = FILE:{directory}/no-keys
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
"""

_SERVER = """
[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {directory}/principals
    key_stash_file = {directory}/stash
    acl_file = {directory}/acl
    supported_enctypes = aes256-cts:normal
  }}
[logging]
  kdc = FILE:{directory}/kdc.log
  admin_server = FILE:{directory}/kdc.log
  default = FILE:{directory}/kdc.log
"""


class Realm:
    """A realm with a running KDC.

    :ivar env: for programs, and with :class:`pytest.MonkeyPatch` for the GSS-API in this process.
    """

    def __init__(self, directory: Path, name: str = REALM) -> None:
        self.directory = directory
        self.name = name
        self.env = self._configured(0)
        self._processes = ExitStack()

    # The daemons

    def _configured(self, port: int, prefix: str = "") -> dict[str, str]:
        """Write configuration files for a KDC's port; the environment that leads to them."""
        values = {"realm": self.name, "directory": self.directory, "port": port}
        clients, server = (self.directory / f"{prefix}{name}.conf" for name in ("krb5", "kdc"))
        clients.write_text(_CLIENTS.format(**values))
        server.write_text(_SERVER.format(**values))
        return {
            "KRB5_CONFIG": str(clients),
            "KRB5_KDC_PROFILE": str(server),
            "KRB5CCNAME": f"FILE:{self.directory / 'no-tickets'}",
            "KRB5_KTNAME": f"FILE:{self.directory / 'no-keys'}",
            "KRB5RCACHENAME": f"file2:{self.directory / 'replays'}",
        }

    def _serve(self, *options: str, prefix: str = "") -> dict[str, str]:
        """Start a KDC.

        :returns: the environment of its clients.
        """
        program = require_program("krb5kdc")
        log = self.directory / f"{prefix}output"
        while True:
            port = free_port()
            env = self._configured(port, prefix)
            command = (program, "-n", "-P", self.directory / f"{prefix}pid", *options)
            process = self._processes.enter_context(running(*command, log=log, env=env))
            if poll(partial(_outcome, process, port), "the KDC listens") == "listens":
                return env
            # Somebody else may have taken the port meanwhile.
            assert "Address already in use" in log.read_text(), log.read_text()
            log.unlink()

    def start(self) -> None:
        """Make the realm and serve it."""
        for program in PROGRAMS:
            require_program(program)
        create = (require_program("kdb5_util"), "create", "-s", "-r", self.name, "-P", "master")
        succeed(*create, env=self.env)
        self.env = self._serve()

    def stop(self) -> None:
        """End what was started."""
        self._processes.close()

    # Principals

    def admin(self, *command: str | Path) -> str:
        """What ``kadmin.local`` says to a command."""
        return succeed(require_program("kadmin.local"), *command, env=self.env).decode()

    def add_user(self, *names: str) -> None:
        """Add principals with :data:`PASSWORD`."""
        for name in names:
            self.admin("addprinc", "-pw", PASSWORD, name)

    def add_service(self, *names: str) -> None:
        """Add principals with a random key."""
        for name in names:
            self.admin("addprinc", "-randkey", name)

    def keytab(self, *names: str, file: str = "keytab") -> Path:
        """A file with these principals' keys."""
        path = self.directory / file
        path.unlink(missing_ok=True)
        self.admin("ktadd", "-k", path, "-norandkey", *names)
        return path

    def log_in(
        self, name: str, *options: str, file: str = "", env: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Get a ticket.

        :returns: an environment that has it.
        """
        cache = self.directory / (file or f"tickets-{name.replace('/', '-')}")
        found = {**(self.env if env is None else env), "KRB5CCNAME": f"FILE:{cache}"}
        command = (require_program("kinit"), *options, name)
        succeed(*command, stdin=f"{PASSWORD}\n".encode(), env=found)
        return found

    def log_in_long_ago(self, name: str) -> dict[str, str]:
        """Get a ticket that has expired, of a KDC that lives in the past; a ticket's life is a day at the most.

        MIT's library takes the KDC's clock for right, so a client of that KDC still believes in the ticket.
        """
        env = self._serve("-T", str(-TWO_DAYS), prefix="past-")
        return self.log_in(name, file=f"expired-{name}", env=env)


def _outcome(process: "subprocess.Popen[bytes]", port: int) -> str:
    """Whether a KDC "listens" or "ended"; "" as long as neither is so."""
    if process.poll() is not None:
        return "ended"
    with socket.socket() as client:
        return "listens" if client.connect_ex(("127.0.0.1", port)) == 0 else ""


@contextmanager
def running_realm(directory: Path, name: str = REALM) -> Iterator[Realm]:
    """A realm that does not outlive the block."""
    directory.mkdir(exist_ok=True)
    os.chmod(directory, 0o700)
    realm = Realm(directory, name)
    try:
        realm.start()
        yield realm
    finally:
        realm.stop()
