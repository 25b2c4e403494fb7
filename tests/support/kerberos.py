"""Keytabs for tests."""

import os
from pathlib import Path

REALM = "TEST.EXAMPLE"


def write_keytab(path: Path, *names: str, realm: str = REALM) -> Path:
    """A keytab in MIT's format, with keys that no KDC knows: enough for a proxy to start with.

    :param names: principals, such as ``rcmd/localhost``.
    """
    octets = b"\5\2"
    for name in names:
        parts = name.split("/")
        entry = len(parts).to_bytes(2, "big")
        entry += b"".join(_counted(part.encode()) for part in (realm, *parts))
        entry += (1).to_bytes(4, "big")  # KRB5_NT_PRINCIPAL
        entry += bytes(4) + b"\1"  # the time, and the version of the key
        entry += (18).to_bytes(2, "big") + _counted(os.urandom(32))  # aes256-cts-hmac-sha1-96
        octets += len(entry).to_bytes(4, "big") + entry
    path.write_bytes(octets)
    path.chmod(0o600)
    return path


def _counted(octets: bytes) -> bytes:
    return len(octets).to_bytes(2, "big") + octets
