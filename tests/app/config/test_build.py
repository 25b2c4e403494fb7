"""A file becomes what the program is made of: values and warnings."""

import pytest

from socks5.net.places import TCP
from socks5.protocol.messages import Command, Method
from socks5.settings import Capacity, NameSource, PerFamily, Settings
from tests.app.config.files import Files


def test_an_empty_file_makes_the_proxy_without_options(files: Files) -> None:
    made = files.make("")
    assert (made.settings, made.capacity) == (Settings(), Capacity())
    assert (made.rules, made.limits, made.access_log) == (None, None, None)
    assert made.logins.accepted == [Method.NO_AUTHENTICATION]
    assert [(each.at.where, each.is_optional) for each in made.listeners] == [
        (TCP(1080, "127.0.0.1"), False),
        (TCP(1080, "::1"), True),
    ]


def test_settings_are_what_the_file_says(files: Files) -> None:
    files.write("home", "10.0.0.0/8  # the house\n\n# more\n2001:db8::/32\n")
    made = files.make("""\
[server]
commands = ["connect"]
outgoing = ["127.0.0.1", "::1"]
advertise = "203.0.113.7"
max_sessions = 7
[timeouts]
idle = "2h"
[udp]
ports = "40000-40099"
[resolver]
source = "system"
threads = 3
[bans]
exempt = ["file:home", "@link-local", "@office", "192.0.2.1"]
[networks]
office = { entries = "198.51.100.0/24" }
""")
    assert made.settings == Settings(
        commands=frozenset({Command.CONNECT}),
        outgoing=PerFamily("127.0.0.1", "::1"),
        advertise=PerFamily("203.0.113.7"),
        idle_timeout=7200.0,
        udp_ports=(40000, 40099),
        ban_exempt=made.settings.ban_exempt,
    )
    for host in ("10.1.1.1", "2001:db8::1", "169.254.1.1", "198.51.100.9", "192.0.2.1"):
        assert host in made.settings.ban_exempt
    assert "192.0.2.2" not in made.settings.ban_exempt
    assert made.capacity == Capacity(max_sessions=7, resolver=NameSource.SYSTEM, resolver_threads=3)
    assert made.lists == {"home": "10.0.0.0/8  # the house\n\n# more\n2001:db8::/32\n"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ('log.access = "-"', "-"),
        ('log.access = "off"', ""),
        ('log.access = "a.log"', "{}/a.log"),
        ('log.access = "/dev/null"', "/dev/null"),
    ],
)
def test_the_access_log_is_where_the_file_says(files: Files, text: str, path: str | None) -> None:
    expected = None if path is None else path.format(files.folder)
    assert files.make(text).access_log == expected


def test_an_access_log_that_cannot_be_is_an_error(files: Files) -> None:
    assert files.problems('log.access = "x/a.log"') == [
        "s.toml:1:14: log.access: expected a file in a folder that exists, got x/a.log"
    ]
    assert files.problems('log.access = "."')[0].startswith("s.toml:1:14: log.access: expected a f")
    assert files.problems('log.access = "-"', is_daemon=True) == [
        "s.toml:1:14: log.access: expected a file, for a daemon has no output"
    ]
