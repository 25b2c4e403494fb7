"""The configuration of an LDAP directory: what it becomes, and with which words it is refused."""

import re
from pathlib import Path

import pytest

from socks5.auth.directory import Directory
from socks5.auth.users import WrongSource
from tests.support.certificates import self_signed

USER_DN = 'user_dn = "uid={name},dc=test"\n'


def read(tmp_path: Path, text: str) -> Directory:
    path = tmp_path / "ldap.toml"
    path.write_text(text)
    return Directory.read(str(path))


def test_a_short_one(tmp_path: Path) -> None:
    directory = read(tmp_path, 'uri = "ldaps://ldap.example.org"\n' + USER_DN)
    assert (directory.host, directory.port, directory.is_tls) == ("ldap.example.org", 636, True)
    assert directory.start_tls
    assert directory.trust_root() is None


def test_another_one(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    directory = read(
        tmp_path,
        f'uri = "ldap://[::1]:3890"\nsearch_base = "dc=test"\nstart_tls = false\n'
        f'ca_file = "{certificate}"\ntimeout = 3\n',
    )
    assert (directory.host, directory.port, directory.is_tls) == ("::1", 3890, False)
    assert directory.timeout == 3
    assert directory.trust_root() is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("uri =", ": expected TOML"),
        ("uri = '\xff", ": expected TOML"),
        ("", ": uri: expected ldaps://HOST:PORT or ldap://HOST:PORT"),
        ("uri = 'http://a'", ": uri: expected ldaps://HOST:PORT or ldap://HOST:PORT"),
        ("uri = 'ldap://'", ": uri: expected ldaps://HOST:PORT or ldap://HOST:PORT"),
        ("uri = 'ldap://a:x'", ": uri: expected ldaps://HOST:PORT or ldap://HOST:PORT"),
        ("uri = 'ldap://[a'", ": uri: expected ldaps://HOST:PORT or ldap://HOST:PORT"),
        ("uri = 'ldap://a'", ": expected either user_dn, with {name} in it, or search_base"),
        (
            "uri = 'ldap://a'\nuser_dn = 'uid={name}'\nsearch_base = 'dc=test'",
            ": expected either user_dn, with {name} in it, or search_base",
        ),
        ("uri = 'ldap://a'\nuser_dn = 'uid=x'", ": expected either user_dn, with {name} in it"),
        (
            "uri = 'ldap://ldap.test'\nstart_tls = false\nsearch_base = 'dc=test'",
            ": start_tls = false is for a server on this machine's loopback",
        ),
        *(
            (
                f"uri = 'ldap://a'\nsearch_base = 'dc=test'\ntimeout = {wrong}",
                ": timeout: expected seconds, more than 0",
            )
            for wrong in ("0", "-1", "-0.5", "nan", "inf")
        ),
        ("bind_passwort = 'hunter2'", ": unknown key 'bind_passwort'; expected some of uri, "),
        ("bind_password = 2", ": bind_password: expected a str"),
        ("timeout = 'soon'", ": timeout: expected a float"),
        (
            "uri = 'ldap://a'\nsearch_base = 'dc=test'\nca_file = '/nonexistent'",
            ": ca_file /nonexistent: No such file or directory",
        ),
        (
            "uri = 'ldap://a'\nsearch_base = 'dc=test'\nca_file = '/dev/null'",
            ": ca_file /dev/null: expected certificates, PEM",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(WrongSource, match=rf"ldap\.toml{re.escape(sentence)}") as raised:
        read(tmp_path, text)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.9", "[::1]"])
def test_clear_text_is_for_loopback(tmp_path: Path, host: str) -> None:
    read(tmp_path, f"uri = 'ldap://{host}'\nstart_tls = false\nsearch_base = 'dc=test'")


def test_a_certificate_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    text = f"uri = 'ldap://a'\nsearch_base = 'dc=test'\nca_file = '{tmp_path}/ca'"
    with pytest.raises(WrongSource, match="expected certificates, PEM"):
        read(tmp_path, text)


def test_a_file_that_is_missing_is_a_sentence() -> None:
    with pytest.raises(WrongSource, match="expected a file that can be read, got '/nonexistent'"):
        Directory.read("/nonexistent")


def test_its_repr_does_not_tell() -> None:
    assert "hunter2" not in repr(Directory(bind_password="hunter2"))
