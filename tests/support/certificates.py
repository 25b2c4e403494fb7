"""Certificates for tests of TLS, made when they are needed, and clients that verify them strictly."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from socks5.net.certificate_files import Files

NAME = "localhost"
HOSTS: Sequence[x509.GeneralName] = (
    x509.DNSName(NAME),
    *(x509.IPAddress(ipaddress.ip_address(host)) for host in ("127.0.0.1", "::1")),
)

DAY = datetime.timedelta(days=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Any, passphrase: bytes | None = None) -> bytes:
    """The key as PEM, encrypted if there is a passphrase."""
    encryption: Any = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(  # type: ignore[no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def subject(*common_names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each) for each in common_names])


def _usage(is_authority: bool) -> x509.KeyUsage:
    """What the key is for. An authority's may be a server's as well, see :meth:`Authority.write_own`."""
    signs = is_authority
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """A certification authority.

    :param directory: where it writes.
    """

    def __init__(self, directory: Path, name: str = "an authority") -> None:
        self.directory = directory
        self._key = new_key()
        self._name = subject(name)
        self.certificate = self._issue(self._key, self._name, (), is_authority=True)
        self.path = directory / f"{name}.pem"
        """Its own certificate."""
        self.path.write_bytes(pem(self.certificate))

    def _issue(
        self,
        key: Any,
        name: x509.Name,
        alternatives: Sequence[x509.GeneralName],
        since: datetime.timedelta = -DAY,
        until: datetime.timedelta = DAY,
        is_authority: bool = False,
        purpose: x509.ObjectIdentifier | None = None,
    ) -> x509.Certificate:
        """A certificate with all that a strict verification asks for (RFC 5280 section 4.2)."""
        now = datetime.datetime.now(datetime.UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(is_authority, path_length=None), critical=True)
            .add_extension(_usage(is_authority), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(issuer, critical=False)
        )
        if purpose is not None:
            usage = x509.ExtendedKeyUsage([purpose])
            builder = builder.add_extension(usage, critical=False)
        if alternatives:
            names = x509.SubjectAlternativeName(alternatives)
            builder = builder.add_extension(names, critical=not list(name))
        return builder.sign(self._key, hashes.SHA256())

    def issue(
        self, *common_names: str, alternatives: Sequence[x509.GeneralName] = (), **validity: Any
    ) -> tuple[x509.Certificate, Any]:
        """A certificate and its key. *validity*: ``since`` and ``until``, from now, and
        ``purpose``.
        """
        key = new_key()
        return self._issue(key, subject(*common_names), alternatives, **validity), key

    def issue_for(self, key: Any) -> x509.Certificate:
        """A certificate for a key of any kind."""
        return self._issue(key, subject(NAME), HOSTS)

    def write(self, path: str, certificate: x509.Certificate, key: Any) -> Path:
        """A file with both, for its user's eyes only."""
        file = self.directory / path
        file.touch(mode=0o600)
        file.write_bytes(key_pem(key) + pem(certificate))
        return file

    def server(self, path: str = "server.pem", **validity: Any) -> Path:
        """A file with key and certificate for localhost, 127.0.0.1 and ::1."""
        return self.write(path, *self.issue(NAME, alternatives=HOSTS, **validity))

    def client(
        self, *common_names: str, alternatives: Sequence[x509.GeneralName] = (), **validity: Any
    ) -> Path:
        """A file with key and certificate for a client."""
        issued = self.issue(*common_names, alternatives=alternatives, **validity)
        return self.write(f"client-{issued[0].serial_number}.pem", *issued)

    def write_own(self, path: str = "server.pem") -> Path:
        """A file with the authority's own key, and a certificate of it as of :meth:`server`."""
        certificate = self._issue(self._key, self._name, HOSTS, is_authority=True)
        return self.write(path, certificate, self._key)


def one_file(path: Path) -> Files:
    """A certificate and its key in one file."""
    return Files(cert=str(path), key=str(path))


def files_of(authority: Authority, certificate: bytes, key: bytes) -> Files:
    """A certificate and a key in files of the authority's directory."""
    cert, private = authority.directory / "cert.pem", authority.directory / "key.pem"
    private.touch(mode=0o600)
    cert.write_bytes(certificate)
    private.write_bytes(key)
    return Files(cert=str(cert), key=str(private))


def self_signed(directory: Path) -> Path:
    """Return a new PEM file with a key and its certificate for localhost, 127.0.0.1 and ::1."""
    return Authority(directory).write_own()


# ---------------------------------------------------------------- who verifies them


def strict(context: ssl.SSLContext, own: Path | None = None) -> ssl.SSLContext:
    """The same context, which verifies as Python does from 3.13 on.

    :param own: a file with a key and its certificate.
    """
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if own is not None:
        context.load_cert_chain(own)
    return context


def strict_client(authority: Path, own: Path | None = None) -> ssl.SSLContext:
    """A client's context. *own*: see :func:`strict`."""
    return strict(ssl.create_default_context(cafile=authority), own)


def shake_hands(authority: Path, server: Path, client: Path, name: str = NAME) -> None:
    """Have a server and a client verify each other strictly.

    :param name: what the client calls the server.
    :raises ssl.SSLCertVerificationError: one certificate does not hold.
    """
    asks = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    asks.verify_mode = ssl.CERT_REQUIRED
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        strict_client(authority, client).wrap_bio(back, there, server_hostname=name),
        strict(asks, server).wrap_bio(there, back, server_side=True),
    ]
    while ends:
        end = ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            ends.append(end)
