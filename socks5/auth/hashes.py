"""Hashes of passwords: what a file of users may hold, and how a new one is made.

Argon2 and bcrypt are computed by their own libraries, which leave the interpreter to others
meanwhile; the older kinds by libpass, which does not. Passwords are octets.

Floor 1½: imports nothing of the package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

BCRYPT_OCTETS = 72
"""What bcrypt uses of a password; the rest never counted, in any program."""

_CRYPT = "[./A-Za-z0-9]"
_KINDS = {
    "argon2": r"(\$argon2(?:id|i|d)\$v=19\$m=\d{1,7},t=\d{1,4},p=\d{1,3}\$)[+/A-Za-z0-9]+\$[+/A-Za-z0-9]{16,}",
    "bcrypt": rf"(\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$){_CRYPT}{{53}}",
    "sha512_crypt": rf"(\$6\$(?:rounds=\d{{1,9}}\$)?){_CRYPT}{{0,16}}\${_CRYPT}{{86}}",
    "sha256_crypt": rf"(\$5\$(?:rounds=\d{{1,9}}\$)?){_CRYPT}{{0,16}}\${_CRYPT}{{43}}",
    "apr_md5_crypt": rf"(\$apr1\$){_CRYPT}{{0,8}}\${_CRYPT}{{22}}",
}
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}


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

        :raises ValueError: it is none that we know, or it is cut; does not quote it.
        """
        for kind, pattern in _PATTERNS.items():
            found = pattern.fullmatch(text)
            if found is not None:
                return cls(kind, found[1], text)
        raise ValueError("not a hash of argon2, bcrypt, sha512-crypt, sha256-crypt or apr1")

    def fits(self, password: bytes) -> bool:
        """Whether it was made of *password*. Compares in constant time; takes as long as it costs."""
        try:
            return _VERIFY.get(self.kind, _verify_crypt)(self, password)
        except ValueError:  # a NUL in it, or a number in the hash that the method does not have
            return False


def make_hash(password: bytes) -> str:
    """A new hash: argon2id with the costs that its library recommends (RFC 9106 section 4)."""
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def _verify_argon2(known: Hash, password: bytes) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        return PasswordHasher().verify(known.text, password)
    except (Argon2Error, InvalidHashError):
        return False


def _verify_bcrypt(known: Hash, password: bytes) -> bool:
    import bcrypt

    return bcrypt.checkpw(password[:BCRYPT_OCTETS], known.text.encode())


def _verify_crypt(known: Hash, password: bytes) -> bool:
    from passlib import hash as methods

    method: Any = getattr(methods, known.kind)
    return bool(method.verify(password, known.text))


_VERIFY = {"argon2": _verify_argon2, "bcrypt": _verify_bcrypt}
