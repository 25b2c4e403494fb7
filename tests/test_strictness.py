"""What the tests make with certificates holds where it is verified strictly."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.certificates import Authority, shake_hands


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("names", [("anna",), ("the department", "anna"), ()])
def test_certificates_of_an_authority(authority: Authority, names: tuple[str, ...]) -> None:
    anna = authority.client(*names, alternatives=[x509.DNSName("anna.example")])
    shake_hands(authority.path, authority.server(), anna)


def test_a_certificate_that_vouches_for_itself(authority: Authority) -> None:
    own = authority.write_own()
    shake_hands(own, own, authority.client("anna"))


def test_a_certificate_of_somebody_else_does_not_hold(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "a stranger").server("stranger.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority.path, stranger, authority.client("anna"))
