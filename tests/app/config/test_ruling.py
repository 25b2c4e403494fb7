"""Rules, limits and lists of a file, as they are asked, and what is wrong with them."""

import os
from dataclasses import replace
from typing import Any

import pytest

from socks5.access import ACCEPTED, Access
from socks5.app.config.build import build
from socks5.app.config.building import Building
from socks5.app.config.document import load
from socks5.app.config.read import read_file
from socks5.app.config.ruling import members
from socks5.app.inherit import Worker
from socks5.net.places import TCP, name_of
from socks5.protocol.address import Address
from socks5.protocol.messages import Command
from tests.app.config.files import Files


def access(command: Command = Command.CONNECT, host: str = "www.example.com") -> Access:
    return Access(
        "192.0.2.9",
        "192.0.2.1",
        None,
        command,
        Address(host.encode() if host[-1] == "m" else host, 443),
    )


def test_rules_are_those_of_the_file(files: Files) -> None:
    files.write("lists/video", ".video.example.com\n")
    files.write("blocked", "198.51.100.0/24\n")
    ruling, _ = files.ruling("""\
[networks]
blocked = { entries = ["file:blocked", "203.0.113.0/24"] }
[names]
video = { entries = "file:lists/video" }
[[rule]]
name = "blocked"
action = "deny"
networks = "@blocked"
reply = "refused"
[[rule]]
name = "video"
action = "deny"
names = "@video"
[[rule]]
name = "web"
action = "allow"
source = "accepted"
""")
    assert ruling.judge(access(host="x.video.example.com"), None).rule == "video"
    assert ruling.judge(access(), "198.51.100.7").rule == "blocked"
    allowed = ruling.judge(access(), "8.8.8.8")
    assert (allowed.rule, allowed.is_allowed, allowed.source) == ("web", True, ACCEPTED)
    assert ruling.rules[1].place == f"{files.folder}/s.toml:10"


def test_a_default_alone_is_a_set_of_rules(files: Files) -> None:
    ruling: Any = files.make('server.default = "report"').rules
    assert ruling.judge(access(), "8.8.8.8").would == ("builtin:default",)
    assert files.make('server.default = "allow"').rules is None


def test_self_is_what_this_host_has_and_what_clients_are_told(files: Files) -> None:
    text = 'server = {{ default = "allow"{} }}\nrule = [{{ name = "self", action = "deny", networks = "@self" }}]\n'
    told: Any = files.make(text.format(', advertise = "203.0.113.7"')).rules
    assert not told.judge(access(), "203.0.113.7").is_allowed
    assert told.judge(access(), "8.8.8.8").is_allowed
    untold: Any = files.make(text.format("")).rules
    assert untold.judge(access(), "203.0.113.7").is_allowed


def test_limits_are_those_of_the_file(files: Files) -> None:
    files.write("members", "bob\n")
    _, found = files.ruling(
        """\
server.limits = "all"
[group.staff]
members = ["alice", "file:members"]
limits = "person"
[limit.all]
sessions = 1
[limit.person]
per = "user"
down = "1MiB/s"
"""
    )
    assert found.enter(access()) is not None
    assert found.enter(access()) is None
    assert found.why(access()) == "limit all: 1 sessions"


def test_a_worker_shares_limits_and_leaves_the_state_to_its_parent(files: Files) -> None:
    text = """\
server = { workers = 4, state = "state", zone = "UTC", limits = "a" }
limit.a = { quota = "1GB/day", down = "1MB/s" }
"""
    worker = Worker(2, 4, [name_of(TCP(1080, "127.0.0.1"))], 1, 1, 1)
    limits: Any = files.make(text, worker=worker).limits
    limits.open()
    limits.begin(None, {})
    assert limits.enter(access()).room(False) == 25_000
    assert not (files.folder / "state").exists()
    limits.close()


def test_a_quota_is_remembered_in_the_file_of_the_state(files: Files) -> None:
    text = """\
server = { zone = "UTC", state = "STATE", limits = "a" }
limit.a = { quota = "1GB/day" }
"""
    made: Any = files.make(text.replace("STATE", "state.sqlite3"))
    made.limits.open()
    assert (files.folder / "state.sqlite3").exists()
    assert files.problems(text.replace("STATE", "none/state")) == [
        "s.toml:1:34: server.state: expected a file in a folder that exists, got none/state"
    ]
    (files.folder / "d").mkdir()
    [problem, _] = files.problems(f"{text.replace('STATE', 'd')}x = 1")
    assert problem == "s.toml:1:34: server.state: expected a file in a folder that exists, got d"


@pytest.mark.parametrize(
    "key",
    [
        "log.access",
        "listener.a.unix",
        'limit.l.quota = "1GB/day"\nserver.zone = "UTC"\nserver.state',
    ],
)
def test_where_no_file_can_be_made_is_told_by_who_is_only_looking(
    key: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socks5.app.config.building.why_not_written", lambda path: "it is full")
    text = f'{key} = "new"'
    [problem] = files.problems(text, is_only_looking=True)
    assert problem.endswith(": expected a file that can be written, got new (it is full)")
    assert files.make(text).warnings == []


def test_a_state_that_is_none_is_told_by_who_is_only_looking(files: Files) -> None:
    text = 'limit.l.quota = "1GB/day"\nserver.zone = "UTC"\nserver.state = "state"'
    assert files.make(text, is_only_looking=True).warnings == []
    files.write("state", "no database at all, but something else" * 100)
    [problem] = files.problems(text, is_only_looking=True)
    assert problem == (
        "s.toml:3:16: server.state: expected a file of quotas, got state (file is not a database)"
    )
    assert files.make(text).warnings == []


# ---------------------------------------------------------------- lists


def test_lists_are_looked_into_whatever_else_is_wrong(files: Files) -> None:
    files.write("good", "a.example\n")
    files.write("bad", "# names\nhttp://video.example/\n" + "1.2.3.4\n" * 4)
    files.write("cut", "a.example")
    files.write("empty", "")
    (files.folder / "octets").write_bytes(b"a.example\n\xff\n")
    text = """\
servr = 1
[names]
a = { entries = ["file:good", "file:bad", "file:bad", "b.example"] }
b = { entries = "file:cut" }
c = { entries = "file:octets" }
d = { entries = ["file:none"] }
e = { entries = "file:empty" }
[networks]
a = { entries = "file:good" }
[group]
a = { members = "file:none" }
"""
    expected = [
        'bad:2: names.a: expected a name or .suffix, got "http://video.example/"; write "video.example"',
        'bad:3: names.a: expected a name or .suffix, got "1.2.3.4"; addresses belong to networks',
        'bad:4: names.a: expected a name or .suffix, got "1.2.3.4"; addresses belong to networks',
        "bad:5: names.a: 2 more lines like these, from here on",
        "cut:1: names.b: expected a newline at the end; is somebody still writing it?",
        (
            "empty:1: names.e: expected an entry, or a line with a # for a list of nothing; got an empty file; is "
            "somebody still writing it?"
        ),
        'good:1: networks.a: expected a network, got "a.example"; names are another key',
        "octets:2:1: expected UTF-8, got the octet 0xff",
        "s.toml:6:18: names.d.entries[0]: expected a file that can be read, got none (No such file or directory)",
        "s.toml:11:17: group.a.members: expected a file that can be read, got none (No such file or directory)",
    ]
    rest = [each for each in files.problems(text) if "servr" not in each]
    assert sorted(rest) == sorted(expected)
    assert len(files.problems(text)) == len(expected) + 1
    assert sorted(files.problems(text.removeprefix("servr = 1\n"))) != []


@pytest.mark.parametrize("path", ["~/x", "${X}/a", ""])
def test_a_list_whose_path_is_none_is_one_error(path: str, files: Files) -> None:
    [problem] = files.problems(f'names.a = {{ entries = ["file:{path}"] }}')
    assert problem.startswith(f's.toml:1:24: names.a.entries[0]: expected a path, got "{path}"')


def test_comments_of_a_list_stand_apart(files: Files) -> None:
    files.write("members", "#bob\r\nalice # who else\r\n\r\n a#b \r\n\t# no\r\n")
    files.write("s.toml", "group.g = { members = 'file:members' }")
    document, configuration = read_file(f"{files.folder}/s.toml")
    assert members(configuration, Building(document)) == {"g": ["alice", "a#b"]}


def test_a_list_that_is_too_long_is_an_error(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socks5.app.config.building.MAX_LIST", 5)
    files.write("long", "a.example\n")
    assert files.problems('names.a = { entries = "file:long" }') != []


def test_a_list_that_was_read_already_is_not_read_again(files: Files) -> None:
    files.write("s.toml", 'bans.exempt = "file:none"')
    document = load(str(files.folder / "s.toml"))
    made = build(replace(document, lists={"none": "10.0.0.0/8\n"}))
    assert "10.0.0.1" in made.settings.ban_exempt


def test_paths_are_relative_to_the_file_not_to_the_current_directory(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write("home", "10.0.0.0/8\n")
    files.write("s.toml", 'bans.exempt = "file:home"')
    monkeypatch.chdir(files.folder)
    document = load("s.toml")
    monkeypatch.chdir(os.sep)
    assert "10.0.0.1" in build(document).settings.ban_exempt
