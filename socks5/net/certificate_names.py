"""Whom a client's certificate names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cryptography import x509
from OpenSSL.crypto import X509

from socks5.protocol.address import MAX_NAME


def _alternatives(kind: type[Any]) -> Callable[[x509.Certificate], Iterable[str]]:
    """Looks up the subjectAltName of one kind (RFC 5280 section 4.2.1.6)."""

    def names(certificate: x509.Certificate) -> Iterable[str]:
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                yield from extension.value.get_values_for_type(kind)

    return names


def _common_names(certificate: x509.Certificate) -> Iterable[str]:
    """The subject's CN, if it has one.

    :raises ValueError: it has two that differ: which of them is meant is anybody's guess.
    """
    attributes = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    names = {str(attribute.value) for attribute in attributes}
    if len(names) > 1:
        raise ValueError("several common names")
    return names


NAMES: dict[str, Callable[[x509.Certificate], Iterable[str]]] = {
    "email": _alternatives(x509.RFC822Name),
    "dns": _alternatives(x509.DNSName),
    "uri": _alternatives(x509.UniformResourceIdentifier),
    "cn": _common_names,
}
"""What a certificate may name somebody by, in the order in which it is looked for."""


def name_in(certificate: X509, kinds: Sequence[str] = tuple(NAMES)) -> str | None:
    """Whom a certificate names: the first name of the first of these kinds that it has.

    :param kinds: some of :data:`NAMES`.
    :returns: None if it has none, or that cannot be read or printed, is empty or longer than
        :data:`~socks5.protocol.address.MAX_NAME`; or if it is a common name, and another one stands beside it. A name
        with a NUL or another control character would be a different one to whoever stops there.
    """
    try:
        parsed = certificate.to_cryptography()
        name = next((name for kind in kinds for name in NAMES[kind](parsed)), "")
    except Exception:  # of a foreign parser, about what a stranger sent
        return None
    is_name = name.isprintable() and name.strip() and 0 < len(name.encode()) <= MAX_NAME
    return name if is_name else None
