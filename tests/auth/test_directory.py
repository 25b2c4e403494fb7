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
    assert "hunter2" not in repr(Directory(bind_password="hunter2"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.9", "::1"])
def test_clear_text_is_for_loopback(tmp_path: Path, host: str) -> None:
    directory = read(
        tmp_path,
        f'uri = "ldap://{f"[{host}]" if ":" in host else host}:3890"\n{SEARCH}\n'
        f'start_tls = false\nca_file = "{self_signed(tmp_path)}"\ntimeout = 3\n',
    )
    assert (directory.host, directory.port, directory.is_tls) == (host, 3890, False)
    assert directory.timeout == 3
    assert directory.trust_root() is not None


URI = ": uri: expected ldaps://HOST:PORT or ldap://HOST:PORT"
EITHER = ": expected either user_dn, with {name} in it, or search_base"
SEARCH = "search_base = 'dc=test'"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("uri =", ": expected TOML"),
        ("uri = '\xff", ": expected TOML"),
        *(
            (f"uri = '{wrong}'", URI)
            for wrong in ("", "http://a", "ldap://", "ldap://a:x", "ldap://[a")
        ),
        *(
            (f"uri = 'ldap://a'\n{more}", EITHER)
            for more in ("", f"user_dn = 'uid={{name}}'\n{SEARCH}", "user_dn = 'uid=x'")
        ),
        (
            f"uri = 'ldap://ldap.test'\nstart_tls = false\n{SEARCH}",
            ": start_tls = false is for a server on this machine's loopback",
        ),
        *(
            (
                f"uri = 'ldap://a'\n{SEARCH}\ntimeout = {wrong}",
                ": timeout: expected seconds, more than 0",
            )
            for wrong in ("0", "-1", "-0.5", "nan", "inf")
        ),
        ("bind_passwort = 'hunter2'", ": unknown key 'bind_passwort'; expected some of uri, "),
        ("bind_password = 2", ": bind_password: expected a str"),
        ("timeout = 'soon'", ": timeout: expected a float"),
        *(
            (f"uri = 'ldap://a'\n{SEARCH}\nca_file = '{file}'", f": ca_file {file}: {why}")
            for file, why in (
                ("/nonexistent", "No such file or directory"),
                ("/dev/null", "expected certificates, PEM"),
            )
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(WrongSource, match=rf"ldap\.toml{re.escape(sentence)}") as raised:
        read(tmp_path, text)
    assert "hunter2" not in str(raised.value)


def test_a_certificate_or_a_file_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    with pytest.raises(WrongSource, match="expected certificates, PEM"):
        read(tmp_path, f"uri = 'ldap://a'\n{SEARCH}\nca_file = '{tmp_path}/ca'")
    with pytest.raises(WrongSource, match="expected a file that can be read, got '/nonexistent'"):
        Directory.read("/nonexistent")
