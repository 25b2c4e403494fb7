"""Users and groups in a text: what is understood, and with which words the rest is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.error import UnauthorizedLogin

from socks5.auth import Known
from socks5.auth.users import (
    Entry,
    Plain,
    Users,
    WrongSource,
    is_name,
    parse_groups,
    parse_hash,
    parse_plain,
    parse_users,
    shown,
    spellings,
)
from tests.auth.test_hashes import KNOWN, SECRET

BCRYPT = KNOWN["bcrypt"].encode()
ARGON2 = KNOWN["argon2"].encode()


def refusal(text: bytes) -> str:
    with pytest.raises(WrongSource) as raised:
        parse_users(text, parse_hash)
    return str(raised.value)


# ---------------------------------------------------------------- users


def test_a_line_is_a_user() -> None:
    text = b"# staff\n\nalice:" + BCRYPT + b"\r\nb\xf6b:" + ARGON2 + b":speed=fast,x=y=z\n"
    entries = parse_users(text, parse_hash)
    assert list(entries) == [b"alice", b"b\xf6b"]
    assert entries[b"alice"].secret.fits(SECRET)
    assert entries[b"alice"].settings == {}
    assert entries[b"b\xf6b"].settings == {"speed": "fast", "x": "y=z"}


def test_a_password_may_hold_colons() -> None:
    entries = parse_users(b"alice:a:b:c\n", parse_plain)
    assert entries[b"alice"].secret.fits(b"a:b:c")
    assert not entries[b"alice"].secret.fits(b"a")


@pytest.mark.parametrize("rest", [b"", b"  "])
def test_nobody_has_no_password(rest: bytes) -> None:
    with pytest.raises(WrongSource, match="line 1: expected a password behind the name"):
        parse_users(b"bob:" + rest + b"\n", parse_plain)


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("settings", [b"", b":quota=5"])
def test_a_hash_is_nobodys_password(kind: str, settings: bytes) -> None:
    """Else whoever reads a file that is safe to be read would be let in."""
    with pytest.raises(WrongSource, match="line 1: what follows the name is a hash; did you mean"):
        parse_users(b"bob:" + KNOWN[kind].encode() + settings + b"\n", parse_plain)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is empty: it is half-written, or nobody has made an entry yet"),
        (b"alice", "line 1 does not end: the file is half-written, or lacks its last newline"),
        (
            b"\nalice:" + BCRYPT,
            "line 2 does not end: the file is half-written, or lacks its last newline",
        ),
        (b"alice\n", "line 1: expected NAME:SECRET, with a name of 1 to 255 octets"),
        (b":" + BCRYPT + b"\n", "line 1: expected NAME:SECRET, with a name of 1 to 255 octets"),
        (b"a" * 256 + b":x\n", "line 1: expected NAME:SECRET, with a name of 1 to 255 octets"),
        (b"a\0:" + BCRYPT + b"\n", "line 1: expected NAME:SECRET, with a name of 1 to 255 octets"),
        (
            b"a:" + BCRYPT + b"\n#\na:" + BCRYPT + b"\n",
            "line 3: a second entry for b'a'; remove one of them",
        ),
        (
            b"alice:hunter2\n",
            (
                "line 1: what follows the name is not a hash of argon2, bcrypt, sha512-crypt, "
                "sha256-crypt or apr1; make the entry with: python -m socks5 passwd FILE NAME"
            ),
        ),
        (
            b"a:" + BCRYPT + b":hunter2\n",
            "line 1: expected KEY=VALUE,KEY=VALUE behind the second colon",
        ),
        (b"a:" + BCRYPT + b":k=\xff\n", "line 1: expected UTF-8"),
    ],
)
def test_what_is_wrong_is_a_sentence_with_the_line(text: bytes, sentence: str) -> None:
    assert refusal(text) == sentence


@given(st.binary(max_size=300))
def test_any_octets_are_users_or_a_sentence(text: bytes) -> None:
    for parse in (lambda: parse_users(text, parse_hash), lambda: parse_groups(text)):
        with suppress(WrongSource):
            parse()


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *((name, True) for name in (b"\xff", b"\xff" * 255)),
        *((name, False) for name in (b"", b"a" * 256, b"a:b", b"a\n", b"\x7f", b"\t", b"a\0")),
    ],
)
def test_a_name_has_1_to_255_octets_that_can_be_printed(name: bytes, is_one: bool) -> None:
    assert is_name(name) is is_one


# ---------------------------------------------------------------- groups


def test_a_user_has_the_groups_that_name_it() -> None:
    groups = parse_groups(b"# groups\nstaff: alice bob\nr\xc3\xa4te: alice\nstaff: carol\nempty:\n")
    assert groups == {
        b"alice": {"staff", "räte"},
        b"bob": {"staff"},
        b"carol": {"staff"},
    }


@pytest.mark.parametrize("text", [b"staff alice\n", b": alice\n", b"\xff: alice\n"])
def test_a_line_that_is_no_group_is_a_sentence(text: bytes) -> None:
    with pytest.raises(WrongSource, match=r"^line 1: expected (GROUP: NAME NAME|UTF-8)$"):
        parse_groups(text)


# ---------------------------------------------------------------- the verdict


class Counted:
    """A secret that says what it was asked."""

    def __init__(self, cost: str) -> None:
        self.cost = cost
        self.asked: list[bytes] = []

    def fits(self, password: bytes) -> bool:
        self.asked.append(password)
        return True


def test_a_right_login_gives_all_that_is_known() -> None:
    users = Users(
        {b"alice": Entry(Plain(b"secret"), {"speed": "fast"})}, {b"alice": frozenset({"staff"})}
    )
    known = users.judge(b"alice", b"secret")
    assert isinstance(known, Known)
    assert (known, known.groups, known.settings) == (b"alice", {"staff"}, {"speed": "fast"})
    assert len(users) == 1


def test_an_unknown_user_costs_what_most_users_cost_and_is_refused() -> None:
    rare, common, other = Counted("rare"), Counted("common"), Counted("common")
    users = Users({b"a": Entry(rare), b"b": Entry(common), b"c": Entry(other)})
    with pytest.raises(UnauthorizedLogin):
        users.judge(b"nobody", b"word")
    assert (rare.asked, common.asked, other.asked) == ([], [b"word"], [])


@pytest.mark.parametrize("password", [b"", b"secre", b"secret ", b"\xff" * 255])
def test_a_wrong_password_is_refused(password: bytes) -> None:
    for entries in ({b"alice": Entry(Plain(b"secret"))}, parse_users(b"# nobody\n", parse_hash)):
        with pytest.raises(UnauthorizedLogin) as raised:
            Users(entries).judge(b"alice", password)
        assert str(raised.value) == "wrong user name or password"


# ---------------------------------------------------------------- what clients send


UMLAUTS = "jürgen", "größe"
LATIN_1, UTF_8 = (
    tuple(each.encode(encoding) for each in UMLAUTS) for encoding in ("latin-1", "utf-8")
)


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ((b"alice", b"secret"), [(b"alice", b"secret")]),
        (UTF_8, [UTF_8]),
        (LATIN_1, [UTF_8, LATIN_1]),
        ((b"alice", LATIN_1[1]), [(b"alice", UTF_8[1]), (b"alice", LATIN_1[1])]),
        ((LATIN_1[0], b"secret"), [(UTF_8[0], b"secret"), (LATIN_1[0], b"secret")]),
    ],
)
def test_octets_that_are_no_utf8_are_tried_as_latin_1_too(
    login: tuple[bytes, bytes], expected: list[tuple[bytes, bytes]]
) -> None:
    assert spellings(*login) == expected
    for name, password in expected:
        users = Users({name: Entry(Plain(password))})
        assert users.judge(*login) == name


def test_octets_that_are_utf8_say_what_they_are() -> None:
    with pytest.raises(UnauthorizedLogin):
        Users({LATIN_1[0]: Entry(Plain(LATIN_1[1]))}).judge(*UTF_8)


def test_a_login_is_two_checks_at_the_most_and_as_many_for_nobody() -> None:
    class Counting(Plain):
        checks = 0

        def fits(self, password: bytes) -> bool:
            self.checks += 1
            return super().fits(password)

    secret = Counting(b"secret")
    users = Users({b"alice": Entry(secret)})
    for name, password, expected in [
        (b"alice", b"wrong", 1),
        (b"nobody", b"wrong", 1),
        (b"alice", b"\xff", 2),
        (b"nobody", b"\xff", 2),
        (b"\xff", b"\xff", 2),
    ]:
        before = secret.checks
        with pytest.raises(UnauthorizedLogin):
            users.judge(name, password)
        assert secret.checks - before == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"alice", "'alice'"),
        (b"", "''"),
        ("jürgen".encode(), "'jürgen'"),
        (b"j\xfcrgen", "'jürgen'"),
        (b'a\n\x1b[2J\0"\\', r"""'a\n\x1b[2J\x00"\\'"""),
        ("a\u202eb".encode(), r"'a\u202eb'"),
        (b"a" * 64, "'" + "a" * 64 + "'"),
        (b"a" * 255, "'" + "a" * 64 + "'..."),
    ],
)
def test_a_name_that_nobody_vouches_for_is_shown_escaped_and_cut(
    name: bytes, expected: str
) -> None:
    assert shown(name) == expected
