"""What is in certificate files, whom a certificate names, and files that change under a listener."""

import errno
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from socks5.net import certificates as module
from socks5.net.certificates import LOOK_INTERVAL, Certificates, Files, Unusable, name_in, reason_of
from tests.support.certificates import DAY, Authority, key_pem, new_key, pem
from tests.support.failures import Failures
from tests.support.files import unreadable


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# ---------------------------------------------------------------- whom a certificate names

ALL = (
    x509.UniformResourceIdentifier("spiffe://example/anna"),
    x509.DNSName("anna.example"),
    x509.DNSName("second.example"),
    x509.RFC822Name("anna@example.org"),
)


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (("email", "dns", "uri", "cn"), "anna@example.org"),
        (("email",), "anna@example.org"),
        (("dns",), "anna.example"),
        (("uri",), "spiffe://example/anna"),
        (("cn",), "anna"),
    ],
)
def test_a_certificate_names_its_user_by(
    authority: Authority, kinds: tuple[str, ...], name: str
) -> None:
    certificate, _ = authority.issue("anna", "anna", alternatives=ALL)
    assert name_in(X509.from_cryptography(certificate), kinds) == name


def test_without_an_alternative_name_it_is_the_subject(authority: Authority) -> None:
    certificate, _ = authority.issue("anna")
    assert name_in(X509.from_cryptography(certificate)) == "anna"


def test_a_name_that_is_longer_than_a_user_name_may_be_is_none(authority: Authority) -> None:
    fits, _ = authority.issue(alternatives=[x509.RFC822Name("a" * 243 + "@example.org")])
    certificate, _ = authority.issue(alternatives=[x509.RFC822Name("a" * 244 + "@example.org")])
    assert name_in(X509.from_cryptography(fits)) is not None
    assert name_in(X509.from_cryptography(certificate)) is None


@pytest.mark.parametrize(
    "name",
    ["anna\0.evil.example", "anna\nroot", "\x1b[2Janna", "an\u202ena", "anna\x7f", "\u200b", " "],
)
@pytest.mark.parametrize("kind", ["dns", "uri", "cn"])
def test_a_name_that_cannot_be_printed_is_none(authority: Authority, kind: str, name: str) -> None:
    certificate = certificate_that_says(authority, kind, name)
    assert name_in(certificate) is name_in(certificate, (kind,)) is None
    assert name_in(certificate_that_says(authority, kind, "anna")) == "anna"


def certificate_that_says(authority: Authority, kind: str, name: str) -> X509:
    """One with such a name, whatever is in it."""
    if kind == "cn":
        certificate, _ = authority.issue(name)
        return X509.from_cryptography(certificate)
    number = {"dns": 2, "uri": 6}[kind]  # RFC 5280 section 4.2.1.6
    octets = name.encode()
    sequence = bytes((0x80 | number, len(octets))) + octets
    names = x509.UnrecognizedExtension(
        x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes((0x30, len(sequence))) + sequence
    )
    return X509.from_cryptography(signed_with(authority, names))


def test_two_common_names_that_differ_name_nobody(authority: Authority) -> None:
    certificate, _ = authority.issue("anna", "root")
    assert name_in(X509.from_cryptography(certificate)) is None
    named, _ = authority.issue("anna", "root", alternatives=ALL)
    assert name_in(X509.from_cryptography(named)) == "anna@example.org"
    assert name_in(X509.from_cryptography(named), ("cn",)) is None


@pytest.mark.parametrize("kind", ["email", "dns", "uri", "cn"])
def test_a_certificate_may_name_nobody(authority: Authority, kind: str) -> None:
    certificate, _ = authority.issue(alternatives=[x509.IPAddress(ip_address("192.0.2.7"))])
    assert name_in(X509.from_cryptography(certificate), (kind,)) is None


def test_what_cannot_be_read_names_nobody(authority: Authority) -> None:
    extension = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"garbage")
    assert name_in(X509.from_cryptography(signed_with(authority, extension))) is None


def signed_with(authority: Authority, extension: x509.ExtensionType) -> x509.Certificate:
    """A certificate with nothing but this extension."""
    key = new_key()
    template, _ = authority.issue("anna")
    builder = x509.CertificateBuilder(
        issuer_name=template.issuer,
        subject_name=template.subject,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=template.not_valid_before_utc,
        not_valid_after=template.not_valid_after_utc,
    ).add_extension(extension, critical=False)
    algorithm = template.signature_hash_algorithm
    assert isinstance(algorithm, x509.base.hashes.SHA256)
    return builder.sign(key, algorithm)


# ---------------------------------------------------------------- files that are of no use


def unusable(files: Files) -> str:
    """The sentence that these files are refused with."""
    with pytest.raises(Unusable) as raised:
        Certificates(files, Clock())
    return str(raised.value)


def files_of(authority: Authority, certificate: bytes, key: bytes) -> Files:
    cert, private = authority.directory / "cert.pem", authority.directory / "key.pem"
    private.touch(mode=0o600)
    cert.write_bytes(certificate)
    private.write_bytes(key)
    return Files(cert=str(cert), key=str(private))


def test_a_missing_file_is_named(authority: Authority) -> None:
    path = str(authority.server())
    for option in ("cert", "key", "clients"):
        files = replace(Files(cert=path, key=path), **{option: "/nonexistent/it"})
        expected = f"{option}=/nonexistent/it: No such file or directory; expected a PEM file that"
        assert unusable(files).startswith(expected)


@pytest.mark.parametrize("option", ["cert", "clients"])
def test_a_file_without_a_certificate_is_named(authority: Authority, option: str) -> None:
    path = str(authority.server())
    empty = authority.directory / "empty.pem"
    empty.write_text("nothing\n")
    sentence = unusable(replace(Files(cert=path, key=path), **{option: str(empty)}))
    assert sentence.startswith(f"{option}={empty}: no whole certificate in it; expected PEM")


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
    "a key that is cut": (with_key(lambda key: key[:40]), "key={key}: no whole key in it"),
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


# ---------------------------------------------------------------- what is said in the log


def said(step: Callable[[], object]) -> list[str]:
    with capturedLogs() as events:
        step()
    return [formatEvent(event) for event in events]


def one_file(path: Path) -> Files:
    return Files(cert=str(path), key=str(path))


def test_nothing_is_said_of_a_good_certificate(authority: Authority) -> None:
    assert said(Certificates(one_file(authority.server()), Clock()).warn) == []


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


def test_a_half_written_file_and_a_missing_one_are_told_once_each(authority: Authority) -> None:
    path = authority.server()
    first, whole = serial_number(path), path.read_bytes()
    listener = Listener(one_file(path))
    path.write_bytes(whole[:300])
    assert listener.serve()[0] == first
    assert listener.serve() == (first, [])
    path.unlink()
    shown, [line] = listener.serve()
    assert shown == first
    assert "No such file or directory" in line
    assert listener.serve() == (first, [])
    path.write_bytes(whole)
    shown, lines = listener.serve()
    assert shown == first
    assert "read again" in lines[0]


def test_files_that_cannot_be_read_now_are_told_once_and_read_as_soon_as_they_can(
    authority: Authority,
) -> None:
    """Out of descriptors, say, when a certificate is renewed."""
    path = authority.server()
    first = serial_number(path)
    listener = Listener(one_file(path))
    authority.server()
    with unreadable(errno.EMFILE):
        shown, [line] = listener.serve()
        assert shown == first
        assert f"cert={path}: Too many open files" in line
        assert listener.serve() == (first, [])
    assert listener.serve() == (
        serial_number(path),
        [f"TLS certificates are read again: {path}"],
    )
    authority.server()
    with unreadable(errno.EMFILE):
        assert listener.serve()[1] == [line]


def test_without_memory_for_a_new_certificate_it_is_tried_again(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = authority.server()
    first = serial_number(path)
    listener = Listener(one_file(path))
    authority.server()

    def refuse(**_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(module, "CertificateOptions", refuse)
        complaint = "TLS certificates stay as they were: MemoryError"
        assert listener.serve() == (first, [complaint])
        assert listener.serve() == (first, [])
    assert listener.serve()[0] == serial_number(path)


def test_a_certificate_of_an_unknown_kind_of_key_is_told_and_the_old_one_stays(
    authority: Authority,
) -> None:
    path = authority.server()
    first, whole = serial_number(path), path.read_bytes()
    listener = Listener(one_file(path))
    der = x509.load_pem_x509_certificate(whole).public_bytes(Encoding.DER)
    odd = ssl.DER_cert_to_PEM_cert(der.replace(PRIME256V1, PRIME239V1))
    path.write_bytes(whole[: whole.index(b"-----BEGIN CERT")] + odd.encode())
    shown, [line] = listener.serve()
    assert shown == first
    assert "TLS does not take its key" in line


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
