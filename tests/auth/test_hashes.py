"""Hashes of passwords, made by other programs and by us."""

import resource
import string
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.auth.hashes import Hash, NotComputed, make_hash

BASE64 = string.ascii_letters + string.digits + "+/"

SECRET = b"open sesame"

# By argon2-cffi, Apache's htpasswd (bcrypt, apr1) and openssl passwd.
KNOWN = {
    "argon2": "$argon2id$v=19$m=64,t=1,p=1$WjzrfnNLQpzShJx1cU9LSQ$cC85aSMmkM/aOMjmJFdMxbErN3tHss08sthuXeIxKaI",
    "bcrypt": "$2y$04$oYHd4rLHr7ujt6hkG3Ef2Ohzf3zuIlAG7VLlqhvZoKXC0g9xGQvye",
    "sha512_crypt": (
        "$6$abcdefgh$CkjGkP7IIgZVUCNlt.Vi53LOYJLXZ5KzdpzEYC"
        "j01XGruA1hxZYJqccTU2zz68oJwAGsd1iPty5F7dHIatUTy/"
    ),
    "sha256_crypt": "$5$abcdefgh$FWXdh6oXOJQkX7oAcP02d0Gnxjct6ra8Fwv29U9RIN2",
    "apr_md5_crypt": "$apr1$8qdliusI$Kiug/IxT0hGX99nVquwKy0",
}


@pytest.mark.parametrize("kind", KNOWN)
def test_what_other_programs_made_is_understood(kind: str) -> None:
    known = Hash.parse(KNOWN[kind])
    assert known.kind == kind
    assert KNOWN[kind][-20:] not in repr(known)
    assert known.fits(SECRET)
    for wrong in (b"", b"open sesam", b"open sesame ", b"Open sesame", *OCTETS):
        assert not known.fits(wrong)
    for cut in (1, 2, 5, 22):
        text = KNOWN[kind][:-cut]
        with pytest.raises(ValueError, match="not a hash of") as raised:
            Hash.parse(text)
        assert text[:10] not in str(raised.value)


OCTETS = [b"\0", b"open sesame\0", b"\xff" * 255, b"a" * 255, b"\x80\x00" * 100]


def test_a_new_hash_is_argon2id_and_takes_any_octets() -> None:
    password = b"\xff\x00 no text " * 21
    text = make_hash(password)
    assert text.startswith("$argon2id$v=19$")
    assert Hash.parse(text).fits(password)
    assert not Hash.parse(text).fits(password + b"x")
    assert make_hash(password) != text


def test_bcrypt_takes_the_first_72_octets_as_everywhere() -> None:
    import bcrypt

    password = b"\xc3\xa4" * 36
    known = Hash.parse(bcrypt.hashpw(password, bcrypt.gensalt(4)).decode())
    assert known.fits(password + b"and more")
    assert not known.fits(password[:71])


def changed(kind: str, old: str, new: str) -> str:
    text = KNOWN[kind]
    assert text.count(old) == 1
    return text.replace(old, new)


SALT = "WjzrfnNLQpzShJx1cU9LSQ"
NO_HASH, TOO_LONG = "not a hash of argon2, bcrypt", "a hash that takes too long"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", NO_HASH),
        ("open sesame", NO_HASH),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", NO_HASH),
        ("rqXexS6ZhobKA", NO_HASH),  # DES
        ("$1$abcdefgh$irWbblnpmw.5z7wgBnprh0", NO_HASH),  # MD5 of Unix
        ("$y$j9T$abc$def", NO_HASH),
        ("*", NO_HASH),
        *((changed("argon2", "m=64", each), NO_HASH) for each in ("m=7", "m=0", "m=064")),
        *((changed("argon2", "p=1", each), NO_HASH) for each in ("p=9", "p=0")),
        (changed("argon2", "t=1", "t=0"), NO_HASH),
        *((changed("argon2", SALT, each), NO_HASH) for each in (SALT[:8], SALT[:-1] + "R")),
        *((changed("sha512_crypt", "$6$", f"$6$rounds={n}$"), NO_HASH) for n in (1, 999)),
        (changed("sha256_crypt", "$5$", "$5$rounds=0001000$"), NO_HASH),
        *((changed("bcrypt", "$04$", each), TOO_LONG) for each in ("$18$", "$40$")),
        (changed("sha256_crypt", "$5$", "$5$rounds=1000000000$"), TOO_LONG),
        (changed("sha512_crypt", "$6$", "$6$rounds=10000000$"), TOO_LONG),
    ],
)
def test_what_is_no_good_hash_or_would_hold_a_thread_for_minutes_is_refused_unquoted(
    text: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        Hash.parse(text)
    assert len(text) < 2 or text not in str(raised.value)


def in_base64(least: int, most: int) -> st.SearchStrategy[str]:
    """So many octets without padding, or characters that may be none."""
    octets = st.binary(min_size=least, max_size=most)
    return octets.map(lambda each: b64encode(each).decode().rstrip("=")) | st.text(BASE64)


@given(
    st.sampled_from(["i", "d", "id"]),
    st.tuples(st.integers(0, 200), st.integers(0, 3), st.integers(0, 20)),
    st.tuples(in_base64(5, 20), in_base64(14, 34)),
)
def test_what_is_read_can_be_computed(
    variant: str, costs: tuple[int, int, int], texts: tuple[str, str]
) -> None:
    """A refusal when the file is read, or a verdict on a password."""
    text = "$argon2{}$v=19$m={},t={},p={}${}${}".format(variant, *costs, *texts)
    with suppress(ValueError):
        assert not Hash.parse(text).fits(SECRET)


@pytest.mark.parametrize("rounds", [1000, 1001])
@pytest.mark.parametrize("kind", ["sha256_crypt", "sha512_crypt"])
def test_rounds_are_understood(kind: str, rounds: int) -> None:
    from passlib import hash as methods

    text = getattr(methods, kind).using(rounds=rounds).hash(SECRET)
    assert f"rounds={rounds}$" in text
    assert Hash.parse(text).fits(SECRET)


@contextmanager
def little_memory() -> Iterator[None]:
    """This process may take 16 MiB more; a hash as we make it takes 64."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (16 << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_hash_for_which_there_is_no_memory_is_no_verdict() -> None:
    known = Hash.parse(make_hash(SECRET))
    with little_memory():
        with pytest.raises(NotComputed, match=r"^Argon2: Memory allocation error"):
            known.fits(SECRET)
        with pytest.raises(NotComputed, match=r"^Argon2: Memory allocation error"):
            make_hash(SECRET)
    assert known.fits(SECRET)


def test_equal_costs_are_equal() -> None:
    other = KNOWN["argon2"].replace("Wjzr", "abcd")
    assert Hash.parse(KNOWN["argon2"]).cost == Hash.parse(other).cost
    assert len({Hash.parse(text).cost for text in KNOWN.values()}) == len(KNOWN)
    dearer = KNOWN["bcrypt"].replace("$04$", "$05$")
    assert Hash.parse(dearer).cost != Hash.parse(KNOWN["bcrypt"]).cost
