"""Certificate files: what is of no use, what is said of it, and those that change under a listener."""

import errno
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from socks5.net import certificate_files as module
from socks5.net.certificate_files import Files, Unusable, reason_of
from socks5.net.certificates import LOOK_INTERVAL, Certificates
from tests.support.certificates import DAY, Authority, files_of, key_pem, new_key, one_file, pem
from tests.support.failures import Failures
from tests.support.files import unreadable


def unusable(files: Files) -> str:
    """The sentence that these files are refused with."""
    with pytest.raises(Unusable) as raised:
        Certificates(files, Clock())
    return str(raised.value)


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        (("cert", "key", "clients"), "none", "No such file or directory; expected a PEM file that"),
        (("cert", "clients"), "empty", "no whole certificate in it; expected PEM"),
    ],
)
def test_a_file_that_is_missing_or_without_a_certificate_is_named(
    authority: Authority, options: tuple[str, ...], name: str, words: str
) -> None:
    path = str(authority.server())
    (authority.directory / "empty").write_text("nothing\n")
    it = str(authority.directory / name)
    for option in options:
        files = replace(Files(cert=path, key=path), **{option: it})
        assert unusable(files).startswith(f"{option}={it}: {words}")


Pair = Callable[[Authority, bytes, bytes], tuple[bytes, bytes]]


def issued_for(key: Any) -> Pair:
    return lambda authority, *_: (pem(authority.issue_for(key)), key_pem(key))


def with_key(change: Callable[[bytes], bytes]) -> Pair:
    return lambda _, cert, key: (cert, change(key))


BROKEN_KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
ENCRYPTED = (
    "it is encrypted; expected a key without a passphrase, as openssl pkey -in {key} -out NEW"
)

PAIRS: dict[str, tuple[Pair, str]] = {
    "a certificate that is cut": (
        lambda _, cert, key: (cert[:-40], key),
        "cert={cert}: no whole certificate",
    ),
    "an issuer that is cut": (
        lambda authority, cert, key: (cert + authority.path.read_bytes()[:-40], key),
        "cert={cert}: a certificate in it is cut; expected whole ones",
    ),
    "no key": (with_key(lambda key: b""), "key={key}: no whole key in it"),
    "a key that is cut late": (with_key(lambda key: key[:150]), "key={key}: no whole key in it"),
    "a broken key": (with_key(lambda key: BROKEN_KEY), "key={key}: no whole key in it"),
    "an encrypted key": (
        with_key(lambda key: key_pem(load_pem_private_key(key, None), b"secret")),
        "key={key}: " + ENCRYPTED,
    ),
    "a key that does not fit": (
        with_key(lambda key: key_pem(new_key())),
        "key={key}: it does not fit the first certificate in {cert}",
    ),
    "a key that is too weak": (
        issued_for(rsa.generate_private_key(65537, 1024)),
        "cert={cert}: TLS does not take it: ee key too small",
    ),
    "a key that does not sign": (
        issued_for(x25519.X25519PrivateKey.generate()),
        "cert={cert}: TLS does not take it: ",
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_certificate_or_a_key_that_is_of_no_use_is_named(authority: Authority, pair: str) -> None:
    make, expected = PAIRS[pair]
    certificate, key = authority.issue("localhost")
    made = make(authority, pem(certificate), key_pem(key))
    files = files_of(authority, *made)
    sentence = unusable(files)
    assert sentence.startswith(expected.format(cert=files.cert, key=files.key))
    assert not any(line in sentence for line in made[1].decode().splitlines()[1:-1])
    assert "secret" not in sentence


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError([("", "", "one"), ("", "", "two")]), "one, two"),
        (ValueError("plain"), "plain"),
        (ValueError(), ""),
    ],
)
def test_what_openssl_says(error: Exception, words: str) -> None:
    assert reason_of(error) == words


def said(step: Callable[[], object]) -> list[str]:
    with capturedLogs() as events:
        step()
    return [formatEvent(event) for event in events]


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [(-2 * DAY, timedelta(0), "expired "), (DAY, 2 * DAY, "valid from ")],
)
def test_a_certificate_that_is_not_valid_now_is_told(
    authority: Authority, since: timedelta, until: timedelta, words: str
) -> None:
    path = authority.server(since=since, until=until)
    [line] = said(Certificates(one_file(path), Clock()).warn)
    assert line.startswith(f"TLS: cert={path}: {words}")


def test_a_key_that_everybody_can_read_is_told(authority: Authority) -> None:
    path = authority.server()
    assert said(Certificates(one_file(path), Clock()).warn) == []
    path.chmod(0o644)
    lines = said(Certificates(one_file(path), Clock()).warn)
    assert lines == [f"TLS: key={path}: every user of the machine can read it; chmod o= {path}"]


# ---------------------------------------------------------------- files that change

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
