"""A file that means the same as a command line makes the same program."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from socks5.app.config.options import tree_of
from socks5.app.config.show import show
from socks5.app.configured import Configured
from socks5.app.options import Options
from socks5.net.places import TCP, UNIX, Listen
from socks5.protocol.networks import Networks
from socks5.settings import Settings
from tests.app.config.test_options import VALUES
from tests.support.certificates import Authority
from tests.support.kerberos import write_keytab
from tests.support.options import parse
from tests.support.skips import needs_gssapi


def plain(at: Listen) -> Listen:
    """What it listens on, without what options have none of, and a file says in full."""
    where = at.where
    if isinstance(where, TCP):
        where = TCP(where.port, where.interface or "0.0.0.0")
    elif isinstance(where, UNIX):
        where = UNIX(os.path.abspath(where.path), where.mode, where.is_locked)
    return replace(at, where=where, policy=replace(at.policy, name=""))


def listeners(found: Options | Configured) -> list[Listen]:
    return [plain(each.at) for each in found.listeners(Clock())]


def values(settings: Settings) -> Settings:
    """A network that is said twice is in once."""
    exempt = tuple(dict.fromkeys(settings.ban_exempt.networks))
    return replace(settings, ban_exempt=Networks(exempt))


def must_be_the_same(folder: Path, arguments: Sequence[str]) -> None:
    options = parse(*arguments)
    path = folder / "same.toml"
    path.write_text(show(tree_of(options.said), None))
    path.chmod(0o600)
    file = Configured(str(path), Clock())
    one, other = (found.policy_of_sessions(Clock()) for found in (file, options))
    assert values(one.settings) == values(other.settings)
    assert (one.rules, one.limits) == (other.rules, other.limits)
    for part in ("authenticator", "gssapi"):
        assert type(getattr(one, part)) is type(getattr(other, part))
    assert [type(each) for each in one.methods] == [type(each) for each in other.methods]
    assert file.capacity == options.capacity
    assert listeners(file) == listeners(options)
    assert (file.workers, file.drain, file.hand_over) == (
        options.workers,
        options.drain,
        options.hand_over,
    )
    assert len(file.sources) == len(options.sources)
    logs = [found.access_log(Clock()) for found in (file, options)]
    assert len({type(log) for log in logs}) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        *(arguments for arguments, _ in VALUES),
        ["-i", "127.0.0.1", "-i", "127.0.0.2", "-p", "7"],
        ["--clients", "192.0.2.0/24", "-l", "[::1]:7", "--methods", "none", "-l", "tcp:8"],
        ["-l", "tcp6:7", "--clients", "192.0.2.0/24", "--proxy-from", "::1"],
        ["-l", "0.0.0.0:7", "--open"],
        ["-l", "unix:s:mode=600", "-l", "tcp:7:interface=localhost"],
    ],
    ids=str,
)
def test_values_and_listeners_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    must_be_the_same(tmp_path, arguments)


def test_users_and_certificates_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("users").write_text("alice:secret\n")
    Path("secrets").write_text("bob:secret\n")
    Path("secrets").chmod(0o600)
    Authority(tmp_path).server("p.pem")
    must_be_the_same(tmp_path, ["--auth", "file:users", "--auth", "secrets:secrets", "-i", "::"])
    tls = "tls:7:cert=p.pem:interface=192.0.2.1:clients=p.pem:client-name=cn"
    must_be_the_same(tmp_path, ["-l", tls])
    must_be_the_same(tmp_path, ["-l", f"{tls}:client-certificates=optional", "--open"])


@needs_gssapi
def test_kerberos_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_keytab(tmp_path / "k", "rcmd/localhost")
    words = ["--gssapi", "rcmd", "--keytab", "k", "--gssapi-protection", "none"]
    must_be_the_same(tmp_path, [*words, "--gssapi-local-realm", "EXAMPLE.ORG", "-i", "0.0.0.0"])
