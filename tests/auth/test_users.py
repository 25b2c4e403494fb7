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


# ---------------------------------------------------------------- users


def test_a_line_is_a_user() -> None:
    text = b"# staff\n\nalice:" + BCRYPT + b"\r\nb\xf6b:" + ARGON2 + b":speed=fast,x=y=z\n"
    entries = parse_users(text, parse_hash)
    assert list(entries) == [b"alice", b"b\xf6b"]
    assert entries[b"alice"].secret.fits(SECRET)
    assert entries[b"alice"].settings == {}
    assert entries[b"b\xf6b"].settings == {"speed": "fast", "x": "y=z"}


def test_a_password_may_hold_colons_and_nobody_has_none() -> None:
    entries = parse_users(b"alice:a:b:c\n", parse_plain)
    assert entries[b"alice"].secret.fits(b"a:b:c")
    assert not entries[b"alice"].secret.fits(b"a")
    for rest in (b"", b"  "):
        with pytest.raises(WrongSource, match="line 1: expected a password behind the name"):
            parse_users(b"bob:" + rest + b"\n", parse_plain)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_hash_is_nobodys_password(kind: str) -> None:
    """Else whoever reads a file that is safe to be read would be let in."""
    for settings in (b"", b":quota=5"):
        with pytest.raises(WrongSource, match="line 1: what follows the name is a hash; did you"):
            parse_users(b"bob:" + KNOWN[kind].encode() + settings + b"\n", parse_plain)


NO_NAME = "line 1: expected NAME:SECRET, with a name of 1 to 255 octets"
NO_END = "does not end: the file is half-written, or lacks its last newline"
NO_HASH = (
    "line 1: what follows the name is not a hash of argon2, bcrypt, sha512-crypt, "
    "sha256-crypt or apr1; make the entry with: socks5 passwd FILE NAME"
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is empty: it is half-written, or nobody has made an entry yet"),
        (b"alice", f"line 1 {NO_END}"),
        (b"\nalice:" + BCRYPT, f"line 2 {NO_END}"),
        (b"alice\n", NO_NAME),
        (b":" + BCRYPT + b"\n", NO_NAME),
        (b"a" * 256 + b":x\n", NO_NAME),
        (b"a\0:" + BCRYPT + b"\n", NO_NAME),
        (
            b"a:%s\n#\na:%s\n" % (BCRYPT, BCRYPT),
            "line 3: a second entry for b'a'; remove one of them",
        ),
        (b"alice:hunter2\n", NO_HASH),
        (b"a:" + BCRYPT + b":x\n", "line 1: expected KEY=VALUE,KEY=VALUE behind the second colon"),
        (b"a:" + BCRYPT + b":k=\xff\n", "line 1: expected UTF-8"),
    ],
)
def test_what_is_wrong_is_a_sentence_with_the_line(text: bytes, sentence: str) -> None:
    with pytest.raises(WrongSource) as raised:
        parse_users(text, parse_hash)
    assert str(raised.value) == sentence


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


class Counted(Plain):
    """A secret that counts how often it was asked."""

    asked = 0

    def fits(self, password: bytes) -> bool:
        self.asked += 1
        return super().fits(password)


def test_a_right_login_gives_all_that_is_known() -> None:
    users = Users(
        {b"alice": Entry(Plain(b"secret"), {"speed": "fast"})}, {b"alice": frozenset({"staff"})}
    )
    known = users.judge(b"alice", b"secret")
    assert isinstance(known, Known)
    assert (known, known.groups, known.settings) == (b"alice", {"staff"}, {"speed": "fast"})
    assert len(users) == 1


def test_an_unknown_user_costs_what_most_users_cost_and_is_refused() -> None:
    """A login is two checks at the most, and as many for nobody."""
    rare, common, other = (Counted(b"word") for _ in range(3))
    rare.cost = "rare"
    users = Users({b"a": Entry(rare), b"b": Entry(common), b"c": Entry(other)})
    for name, password, expected in [
        (b"b", b"wrong", 1),
        (b"nobody", b"word", 1),
        (b"b", b"\xff", 2),
        (b"nobody", b"\xff", 2),
        (b"\xff", b"\xff", 2),
    ]:
        before = common.asked
        with pytest.raises(UnauthorizedLogin):
            users.judge(name, password)
        assert common.asked - before == expected
    assert rare.asked == other.asked == 0


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
        assert Users({name: Entry(Plain(password))}).judge(*login) == name
    with pytest.raises(UnauthorizedLogin):  # what is UTF-8 says what it is
        Users({LATIN_1[0]: Entry(Plain(LATIN_1[1]))}).judge(*UTF_8)


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
