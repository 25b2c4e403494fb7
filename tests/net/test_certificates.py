"""Certificate files that change under a listener."""

import errno
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from socks5.net import certificate_files as module
from socks5.net.certificate_files import Files
from socks5.net.certificates import LOOK_INTERVAL, Certificates
from tests.support.certificates import DAY, Authority, files_of, key_pem, one_file, pem
from tests.support.failures import Failures
from tests.support.files import unreadable

PRIME256V1 = bytes.fromhex("06082a8648ce3d030107")
PRIME239V1 = bytes.fromhex("06082a8648ce3d030104")
"""Names of curves in a certificate (RFC 5480, ANSI X9.62), the second one without support."""


class Listener:
    """The certificates of a listener, whose clients come when a test says so."""

    def __init__(self, files: Files) -> None:
        self.clock = Clock()
        self.certificates = Certificates(files, self.clock)
        verifyObject(IOpenSSLServerConnectionCreator, self.certificates)
        self.serve()

    def serve(self, after: float = LOOK_INTERVAL) -> tuple[int, list[str]]:
        """One more client: the serial number that it sees, and what is said."""
        self.clock.advance(after)
        with capturedLogs() as events:
            connection = self.certificates.serverConnectionForTLS(None)
        shown = _serial_number(connection.get_context())
        return shown, [formatEvent(event) for event in events]


def _serial_number(context: Any) -> int:
    """Of the certificate that a context shows, found by a handshake in memory."""
    server, client = (
        SSL.Connection(context, None),
        SSL.Connection(SSL.Context(SSL.TLS_METHOD), None),
    )
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(4):
        for here, there in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                here.do_handshake()
            with suppress(SSL.WantReadError):
                there.bio_write(here.bio_read(1 << 16))
    certificate = client.get_peer_certificate()
    assert certificate is not None
    return certificate.get_serial_number()


def serial_number(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_a_new_certificate_is_for_new_clients_once_it_is_looked_at(authority: Authority) -> None:
    path = authority.server()
    first = serial_number(path)
    listener = Listener(one_file(path))
    authority.server()
    assert listener.serve(LOOK_INTERVAL / 2) == (first, [])
    second = serial_number(path)
    assert second != first
    expected = [f"TLS certificates are read again: {path}"]
    assert listener.serve() == (second, expected)
    assert listener.serve() == (second, [])


def test_a_pair_that_does_not_fit_yet_is_told_once_and_the_old_one_stays(
    authority: Authority,
) -> None:
    certificate, key = authority.issue("localhost")
    files = files_of(authority, pem(certificate), key_pem(key))
    listener = Listener(files)
    second, second_key = authority.issue("localhost")
    Path(files.cert).write_bytes(pem(second))
    shown, [line] = listener.serve()
    assert shown == certificate.serial_number
    assert line.startswith(f"TLS certificates stay as they were: key={files.key}: it does not fit")
    assert listener.serve() == (certificate.serial_number, [])
    Path(files.key).write_bytes(key_pem(second_key))
    assert listener.serve()[0] == second.serial_number


def with_odd_key(whole: bytes) -> bytes:
    """Of an unknown kind."""
    der = x509.load_pem_x509_certificate(whole).public_bytes(Encoding.DER)
    odd = ssl.DER_cert_to_PEM_cert(der.replace(PRIME256V1, PRIME239V1))
    return whole[: whole.index(b"-----BEGIN CERT")] + odd.encode()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda whole: whole[:300], "no whole certificate in it"),
        (lambda whole: None, "No such file or directory"),
        (with_odd_key, "TLS does not take its key"),
    ],
)
def test_a_file_that_is_of_no_use_is_told_once_and_the_old_certificate_stays(
    authority: Authority, spoil: Callable[[bytes], bytes | None], words: str
) -> None:
    path = authority.server()
    first, whole = serial_number(path), path.read_bytes()
    listener = Listener(one_file(path))
    spoilt = spoil(whole)
    if spoilt is None:
        path.unlink()
    else:
        path.write_bytes(spoilt)
    shown, [line] = listener.serve()
    assert shown == first
    assert line.startswith(f"TLS certificates stay as they were: cert={path}: ")
    assert words in line
    assert listener.serve() == (first, [])
    path.write_bytes(whole)
    assert listener.serve()[1][0] == f"TLS certificates are read again: {path}"


@contextmanager
def without_memory() -> Iterator[None]:
    def refuse(**_: Any) -> None:
        raise MemoryError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "CertificateOptions", refuse)
        yield


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (lambda: unreadable(errno.EMFILE), "cert={path}: Too many open files"),
        (without_memory, "MemoryError"),
    ],
)
def test_what_cannot_be_read_now_is_told_once_and_read_as_soon_as_it_can(
    authority: Authority, trouble: Callable[[], Any], words: str
) -> None:
    path = authority.server()
    listener = Listener(one_file(path))
    for _ in range(2):
        before = serial_number(path)
        authority.server()
        with trouble():
            shown, [line] = listener.serve()
            assert (shown, words.format(path=path) in line) == (before, True)
            assert listener.serve() == (before, [])
        read_again = f"TLS certificates are read again: {path}"
        assert listener.serve() == (serial_number(path), [read_again])


def test_what_nobody_thought_of_keeps_the_old_certificate(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    path = authority.server()
    first = serial_number(path)
    listener = Listener(one_file(path))
    authority.server()
    monkeypatch.setattr(module, "load_pem_private_key", lambda *_: 1 / 0)
    assert listener.serve() == (first, ["TLS certificates stay as they were"])
    assert failures.take(ZeroDivisionError) == ["division by zero"]


def test_other_authorities_are_a_change_too(authority: Authority, tmp_path: Path) -> None:
    files = one_file(authority.server())
    files = replace(files, clients=str(authority.path), is_required=False)
    listener = Listener(files)
    other = Authority(tmp_path, "another authority")
    os.replace(other.path, authority.path)
    assert "read again" in listener.serve()[1][0]


def test_what_is_read_again_is_warned_of(authority: Authority) -> None:
    listener = Listener(one_file(authority.server()))
    path = authority.server(since=-2 * DAY, until=-DAY)
    [_, line] = listener.serve()[1]
    assert line.startswith(f"TLS: cert={path}: expired ")
