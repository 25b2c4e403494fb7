"""A Kerberos realm for tests: MIT's KDC on loopback, everything that it needs in a directory of its own.

Nothing of the machine's own Kerberos is read or changed.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.interop.processes import listening, succeed
from tests.interop.programs import require_program
from tests.support.kerberos import REALM
from tests.support.ports import free_port

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

    :param processes: end the KDC, with the block.
    :ivar env: for programs, and with :class:`pytest.MonkeyPatch` for the GSS-API in this process.
    """

    def __init__(self, directory: Path, processes: ExitStack) -> None:
        for program in PROGRAMS:
            require_program(program)
        self.directory = directory
        self._processes = processes
        create = (require_program("kdb5_util"), "create", "-s", "-r", REALM, "-P", "master")
        succeed(*create, env=self._configured(0))
        self.env = self._serve()

    def _configured(self, port: int, prefix: str = "") -> dict[str, str]:
        """Write configuration files for a KDC's port; the environment that leads to them."""
        values = {"realm": REALM, "directory": self.directory, "port": port}
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
        port, log = free_port(), self.directory / f"{prefix}output"
        env = self._configured(port, prefix)
        command = (require_program("krb5kdc"), "-n", "-P", self.directory / f"{prefix}pid")
        self._processes.enter_context(listening(*command, *options, port=port, log=log, env=env))
        return env

    def _admin(self, *command: str | Path) -> None:
        succeed(require_program("kadmin.local"), *command, env=self.env)

    def add_user(self, *names: str) -> None:
        """Add principals with :data:`PASSWORD`."""
        for name in names:
            self._admin("addprinc", "-pw", PASSWORD, name)

    def add_service(self, *names: str) -> None:
        """Add principals with a random key."""
        for name in names:
            self._admin("addprinc", "-randkey", name)

    def keytab(self, *names: str, file: str = "keytab") -> None:
        """Make a file with these principals' keys."""
        self._admin("ktadd", "-k", self.directory / file, "-norandkey", *names)

    def log_in(self, name: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Get a ticket.

        :returns: an environment that has it.
        """
        found = {**(env or self.env), "KRB5CCNAME": f"FILE:{self.directory / f'tickets-{name}'}"}
        succeed(require_program("kinit"), name, stdin=f"{PASSWORD}\n".encode(), env=found)
        return found

    def log_in_long_ago(self, name: str) -> dict[str, str]:
        """Get a ticket that has expired, of a KDC that lives in the past; a ticket's life is a day at the most.

        MIT's library takes the KDC's clock for right, so a client of that KDC still believes in the ticket.
        """
        return self.log_in(name, self._serve("-T", str(-TWO_DAYS), prefix="past-"))


@contextmanager
def running_realm(directory: Path) -> Iterator[Realm]:
    """A realm that does not outlive the block."""
    directory.mkdir(exist_ok=True)
    os.chmod(directory, 0o700)
    with ExitStack() as processes:
        yield Realm(directory, processes)
