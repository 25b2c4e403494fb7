"""Whom a client's certificate names."""

from ipaddress import ip_address

import pytest
from cryptography import x509
from OpenSSL.crypto import X509

from socks5.net.certificate_names import name_in
from tests.support.certificates import Authority, new_key

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
