"""TLS towards a server: which authorities its certificate may be from, and which certificate we show."""

from __future__ import annotations

from functools import partial
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from socks5.flaws import Flaws
from socks5.net.certificate_files import Unusable, certificates_in, private_key_in, reason_of


def client_options(
    name: str, authorities: str | None = None, cert: str | None = None, key: str | None = None
) -> Any:
    """IOpenSSLClientConnectionCreator.

    :param name: what the server's certificate must name: a host, or an IP literal.
    :param authorities: PEM file; None: those that the system trusts.
    :param cert: PEM file with the certificate that is shown, and behind it its issuers'; None: none is.
    :param key: PEM file with its key; None: the same.
    :raises Unusable: says which files cannot be used, and why; each begins with "ca=", "cert=" or "key=".
    """
    flaws = Flaws()
    trusted = chain = None
    private: Any = None
    if authorities is not None:
        trusted = flaws.of(partial(certificates_in, "ca", authorities))
    if cert is not None:
        chain = flaws.of(partial(certificates_in, "cert", cert))
        if chain is not None or key is not None:  # else that is said of the file already
            private = flaws.of(partial(private_key_in, key or cert))
    flaws.end()
    trust = platformTrust()
    if trusted is not None:
        trust = trustRootFromCertificates(
            [Certificate(X509.from_cryptography(each)) for each in trusted]
        )
    more: dict[str, Any] = {"raiseMinimumTo": TLSVersion.TLSv1_2}
    if chain is not None:
        own, *issuers = map(X509.from_cryptography, chain)
        more |= {"certificate": own, "extraCertChain": issuers}
        more["privateKey"] = PKey.from_cryptography_key(private)
        try:
            CertificateOptions(**more).getContext()  # else the first connection would find out
        except (SSL.Error, TypeError, ValueError) as error:
            why = reason_of(error)
            raise Unusable(f"cert={cert}: TLS does not take it with that key: {why}") from None
    return optionsForClientTLS(name, trust, extraCertificateOptions=more)
