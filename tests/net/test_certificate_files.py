"""What is in certificate files: what is of no use, and what is said of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from socks5.net.certificate_files import Files, Unusable, reason_of
from socks5.net.certificates import Certificates
from tests.support.certificates import DAY, Authority, files_of, key_pem, new_key, one_file, pem


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
