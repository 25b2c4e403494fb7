"""Hashes of passwords: what a file of users may hold, and how a new one is made.

Argon2 and bcrypt are computed by their own libraries, which leave the interpreter to others
meanwhile; the older kinds by libpass, which does not. Passwords are octets.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any

BCRYPT_OCTETS = 72
"""What bcrypt uses of a password; the rest never counted, in any program."""

ARGON2_SALT = 8
"""Octets of a salt that Argon2's own library takes at the least."""

_CRYPT = "[./A-Za-z0-9]"
_ROUNDS = r"rounds=[1-9]\d{3,6}"  # crypt(5): from 1000; a hundred times as many take minutes
_KINDS = {
    "argon2": (
        r"(\$argon2(?:id|i|d)\$v=19\$m=(?P<m>[1-9]\d{0,6}),t=[1-9]\d{0,3},p=(?P<p>[1-9]\d{0,2})\$)"
        r"(?P<salt>[+/A-Za-z0-9]+)\$(?P<digest>[+/A-Za-z0-9]+)"
    ),
    "bcrypt": rf"(\$2[aby]\$(?:0[4-9]|1[0-7])\$){_CRYPT}{{53}}",
    "sha512_crypt": rf"(\$6\$(?:{_ROUNDS}\$)?){_CRYPT}{{0,16}}\${_CRYPT}{{86}}",
    "sha256_crypt": rf"(\$5\$(?:{_ROUNDS}\$)?){_CRYPT}{{0,16}}\${_CRYPT}{{43}}",
    "apr_md5_crypt": rf"(\$apr1\$){_CRYPT}{{0,8}}\${_CRYPT}{{22}}",
}
_TOO_DEAR = re.compile(r"\$[56]\$rounds=\d{8,}\$|\$2[aby]\$(?:1[89]|[2-9]\d)\$")
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}


def _is_argon2(found: re.Match[str]) -> bool:
    """Whether Argon2 takes these numbers and this salt, and a digest of a usual length is whole."""
    digest = len(_octets(found["digest"]))
    return (
        int(found["m"]) >= 8 * int(found["p"])
        and len(_octets(found["salt"])) >= ARGON2_SALT
        and digest in range(16, 129, 8)
    )


def _octets(text: str) -> bytes:
    """What base64 without padding stands for; nothing if no octets are written so."""
    try:
        octets = b64decode(text + "=" * (-len(text) % 4))
    except ValueError:  # one character too many
        return b""
    return octets if b64encode(octets).rstrip(b"=").decode() == text else b""


class NotComputed(Exception):
    """A hash could not be computed, for want of memory mostly: that says nothing about the password."""


@dataclass(frozen=True, slots=True)
class Hash:
    """One hash, in the form of ``crypt(3)``.

    :param kind: the name of its method.
    :param cost: equal for hashes that take equally long.
    """

    kind: str
    cost: str
    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Hash:
        """A hash as it stands in a file.

        :raises ValueError: it is none that we know, it has numbers that its method does not take or that
            cost minutes, or it is cut; does not quote it.
        """
        for kind, pattern in _PATTERNS.items():
            found = pattern.fullmatch(text)
            if found is not None and (kind != "argon2" or _is_argon2(found)):
                return cls(kind, found[1], text)
        if _TOO_DEAR.match(text):
            raise ValueError("a hash that takes too long: each login would cost many seconds")
        raise ValueError("not a hash of argon2, bcrypt, sha512-crypt, sha256-crypt or apr1")

    def fits(self, password: bytes) -> bool:
        """Whether it was made of *password*. Compares in constant time; takes as long as it costs.

        :raises NotComputed: the machine could not.
        """
        try:
            return _VERIFY.get(self.kind, _verify_crypt)(self, password)
        except ValueError:  # a NUL in it, which some methods do not take
            return False


def make_hash(password: bytes) -> str:
    """A new hash: argon2id with the costs that its library recommends (RFC 9106 section 4).

    :raises NotComputed: the machine could not.
    """
    from argon2 import PasswordHasher
    from argon2.exceptions import HashingError

    try:
        return PasswordHasher().hash(password)
    except HashingError as error:
        raise NotComputed(f"Argon2: {error}") from None


def _verify_argon2(known: Hash, password: bytes) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import VerificationError, VerifyMismatchError

    try:
        return PasswordHasher().verify(known.text, password)
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        raise NotComputed(f"Argon2: {error}") from None


def _verify_bcrypt(known: Hash, password: bytes) -> bool:
    import bcrypt

    return bcrypt.checkpw(password[:BCRYPT_OCTETS], known.text.encode())


def _verify_crypt(known: Hash, password: bytes) -> bool:
    from passlib import hash as methods

    method: Any = getattr(methods, known.kind)
    return bool(method.verify(password, known.text))


_VERIFY = {"argon2": _verify_argon2, "bcrypt": _verify_bcrypt}
