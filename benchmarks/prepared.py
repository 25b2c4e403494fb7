"""Files that a proxy is started with: users, and a certificate."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path


def users(folder: Path, user: str, password: str, more: int = 0) -> None:
    """Write ``users``, whose passwords are all the same one: its hash is computed once.

    :param more: so many besides: ``user0``, ``user1``, and so on.
    """
    path = folder / "users"
    command = [sys.executable, "-m", "socks5", "passwd", str(path), user]
    subprocess.run(command, input=f"{password}\n", text=True, check=True, capture_output=True)
    hashed = path.read_text().partition(":")[2]
    with path.open("a") as file:
        file.writelines(f"user{i}:{hashed}" for i in range(more))


def certificate(folder: Path) -> bool:
    """Write ``tls.pem``, a key and a certificate that nobody verifies.

    :returns: whether it is there: it needs ``openssl``.
    """
    key, chain, both = (folder / name for name in ("key.pem", "certificate.pem", "tls.pem"))
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=proxy.test"
        " -addext keyUsage=critical,digitalSignature,keyCertSign"
    )
    command = ["openssl", *words.split(), "-keyout", str(key), "-out", str(chain)]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(command, check=True, capture_output=True)
        both.write_text(key.read_text() + chain.read_text())
    return both.exists()
