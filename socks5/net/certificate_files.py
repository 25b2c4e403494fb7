"""The PEM files of a TLS listener: where they are, and what is in them, as a context of OpenSSL's."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.ssl import CertificateOptions, TLSVersion

from socks5.files import Stamp, is_of_the_file, read
from socks5.flaws import Flaw, Flaws
from socks5.net.certificate_names import NAMES, name_in

_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


class Unusable(Flaw):
    """A listener's certificates, or what is said of them, cannot be used: names the option, the file,
    and what was expected.
    """


class Unread(Unusable):
    """A file cannot be read now, which says nothing of what is in it: descriptors have run out, or the like."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a listener's certificates are.

    :param cert: PEM file with the certificate, behind it those of its issuers.
    :param key: PEM file with the key, not encrypted; may be the same file.
    :param clients: PEM file with the authorities of clients' certificates; None: clients are not
        asked for one.
    :param is_required: a client must show one.
    :param names: what a client's certificate names its user by; see :data:`~socks5.net.certificate_names.NAMES`.
    """

    cert: str
    key: str
    clients: str | None = None
    is_required: bool = True
    names: tuple[str, ...] = tuple(NAMES)

    def look(self) -> list[Stamp | None]:
        """Something that differs once a file is another one or was written to. Never raises."""
        return [Stamp.of(path) for path in (self.cert, self.key, self.clients) if path is not None]


def _read(option: str, path: str) -> bytes:
    try:
        return read(path)
    except OSError as error:
        kind = Unusable if is_of_the_file(error) else Unread
        raise kind(
            f"{option}={path}: {error.strerror}; expected a PEM file that the proxy's user can read"
        ) from None


def certificates_in(option: str, path: str) -> list[x509.Certificate]:
    """Those of a PEM file.

    :param option: how errors call it.
    :raises Unusable: it is none, or cannot be read.
    """
    data = _read(option, path)
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise Unusable(
            f"{option}={path}: no whole certificate in it; expected PEM (-----BEGIN CERTIFICATE-----)"
        ) from None
    if len(found) < data.count(b"-----BEGIN CERTIFICATE-----"):
        raise Unusable(f"{option}={path}: a certificate in it is cut; expected whole ones")
    return found


def private_key_in(path: str) -> Any:
    """The key of a PEM file.

    :raises Unusable: it is none, or cannot be read.
    """
    found = _KEY.search(_read("key", path))
    try:
        return load_pem_private_key(found[0] if found else b"", None)
    except TypeError:
        raise Unusable(
            f"key={path}: it is encrypted; expected a key without a passphrase, "
            f"as openssl pkey -in {path} -out NEW makes it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable(
            f"key={path}: no whole key in it; expected PEM (-----BEGIN PRIVATE KEY-----)"
        ) from None


def _warnings(files: Files, certificate: x509.Certificate, now: datetime) -> Iterable[str]:
    if certificate.not_valid_after_utc < now:
        until = certificate.not_valid_after_utc
        yield f"cert={files.cert}: expired {until:%Y-%m-%d %H:%M} UTC; clients will refuse it"
    if certificate.not_valid_before_utc > now:
        since = certificate.not_valid_before_utc
        yield f"cert={files.cert}: valid from {since:%Y-%m-%d %H:%M} UTC; clients will refuse it"
    if os.stat(files.key).st_mode & stat.S_IROTH:
        yield f"key={files.key}: every user of the machine can read it; chmod o= {files.key}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was in the files at one time.

    :param context: makes connections.
    :param warnings: what is legal but hardly meant.
    """

    context: SSL.Context
    warnings: Sequence[str]

    @classmethod
    def from_files(cls, files: Files) -> Loaded:
        """:raises Unusable: with these files there can be no TLS."""
        chain, key, authorities = _parts(files)
        try:
            is_pair = chain[0].public_key() == key.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Unusable(f"cert={files.cert}: TLS does not take its key: {error}") from None
        if not is_pair:
            raise Unusable(
                f"key={files.key}: it does not fit the first certificate in {files.cert}; "
                "expected the key that this certificate was made for"
            )
        try:
            context = _context(files, chain, key, authorities)
        except (SSL.Error, TypeError) as error:
            raise Unusable(f"cert={files.cert}: TLS does not take it: {reason_of(error)}") from None
        return cls(context, tuple(_warnings(files, chain[0], datetime.now(UTC))))


def _parts(files: Files) -> tuple[list[x509.Certificate], Any, list[x509.Certificate]]:
    """What is in the files: certificates, key, and authorities of clients.

    :raises Unusable: says what is wrong with which.
    """
    flaws = Flaws()
    chain = flaws.of(partial(certificates_in, "cert", files.cert))
    is_apart = chain is not None or files.key != files.cert  # else that is said of the file already
    key = flaws.of(partial(private_key_in, files.key)) if is_apart else None
    authorities = None
    if files.clients is not None:
        authorities = flaws.of(partial(certificates_in, "clients", files.clients))
    flaws.end()
    return chain or [], key, authorities or []


def _context(
    files: Files, chain: Sequence[x509.Certificate], key: Any, authorities: Sequence[Any]
) -> SSL.Context:
    """TLS 1.2 or later, Twisted's choice of ciphers, no session to resume: every client is verified.

    :raises OpenSSL.SSL.Error: OpenSSL finds the certificate or the key too weak.
    :raises TypeError: the key is of a kind that TLS does not know.
    """
    own, *issuers = (X509.from_cryptography(each) for each in chain)
    trusted = [X509.from_cryptography(each) for each in authorities]
    options = CertificateOptions(
        privateKey=PKey.from_cryptography_key(key),
        certificate=own,
        extraCertChain=issuers,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        verify=bool(trusted),
        caCerts=trusted or None,
        requireCertificate=files.is_required,
    )
    context = options.getContext()
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    count_steps(context)
    if trusted:
        for authority in trusted:
            context.add_client_ca(authority)  # tells clients which certificate to show
        must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if files.is_required else 0
        context.set_verify(SSL.VERIFY_PEER | must, _names_somebody(files.names))
    return context


def count_steps(context: SSL.Context) -> None:
    """Have connections of a context count their steps, for :func:`steps_of`."""
    context.set_info_callback(_count)


def _count(connection: Any, where: int, outcome: int) -> None:
    connection.steps = steps_of(connection) + 1


def steps_of(connection: Any) -> int:
    """How many steps of TLS's own a connection has taken, if its context has them counted: some 20 for its handshake,
    and behind that those for new keys and alerts.
    """
    steps: int = getattr(connection, "steps", 0)
    return steps


def _names_somebody(kinds: Sequence[str]) -> Callable[..., bool]:
    """Has OpenSSL refuse a client's certificate that names nobody, too."""

    def verify(
        connection: Any, certificate: X509, number: int, depth: int, is_valid: object
    ) -> bool:
        return bool(is_valid) and (depth > 0 or name_in(certificate, kinds) is not None)

    return verify


def reason_of(error: Exception) -> str:
    """What OpenSSL says, in its words."""
    stack = error.args[0] if error.args else ""
    if isinstance(stack, list):
        return ", ".join(str(entry[-1]) for entry in stack)
    return str(error)
