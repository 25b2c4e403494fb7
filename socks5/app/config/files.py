"""Kinds of values that lead to files: paths, and secrets, which stand somewhere else than in the file."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from socks5.app.config.values import Kind, Schema, Wrong, as_toml
from socks5.files import read

_VARIABLE = re.compile(r"\$(?:\{|[A-Za-z_])")


def check_path(text: str) -> None:
    """Look whether a text can be a path.

    :raises ValueError: says what is wrong with it.
    """
    if not text or not text.isprintable():
        raise ValueError(f"expected a path, got {as_toml(text)}")
    if text.startswith("~"):
        raise ValueError(
            f"expected a path, got {as_toml(text)}; write it out, for ~ is nobody's here"
        )
    if _VARIABLE.search(text):
        raise ValueError(
            f"expected a path, got {as_toml(text)}; write it out, for there are no variables here"
        )


class FilePath(Kind):
    """A path, relative to the folder of the file that names it.

    :param others: what may stand instead.
    """

    example = "path/to/file"

    def __init__(self, *others: str) -> None:
        self.others = others
        self.words = "".join(["a path", *(f" or {as_toml(each)}" for each in others)])

    @override
    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.wrong(value)
        try:
            check_path(value)
        except ValueError as error:
            raise Wrong(str(error)) from None
        return value

    @override
    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True, repr=False)
class From:
    """Where a file or a secret is.

    :param way: ``file``, ``env``, ``credential``, or "" for what stands there itself.
    :param what: a path, the name of a variable or of a credential; or the secret.
    """

    way: str
    what: str

    @override
    def __repr__(self) -> str:
        return f"{{ {self.way} = {as_toml(self.what)} }}" if self.way else "(hidden)"

    def path(self, folder: str) -> str:
        """The file, if it is one.

        :param folder: what a path is relative to.
        :raises ValueError: the credential is none; says why.
        """
        if self.way != "credential":
            return os.path.join(folder, self.what)
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ValueError(
                f"expected a service that systemd starts with LoadCredential={self.what}:FILE, which sets "
                "$CREDENTIALS_DIRECTORY"
            )
        return os.path.join(directory, self.what)

    def reveal(self, folder: str) -> str:
        """The secret, without the end of its line.

        :raises ValueError: there is none; says where it should have been.
        """
        if not self.way:
            return self.what
        if self.way == "env":
            octets = os.environb.get(os.fsencode(self.what), b"")
            where = f"the environment variable {self.what}"
        else:
            where = self.path(folder)
            try:
                octets = read(where, is_once=True).removesuffix(b"\n").removesuffix(b"\r")
            except OSError as error:
                raise ValueError(
                    f"expected a file that can be read, got {where} ({error.strerror})"
                ) from None
        try:
            text = octets.decode()
        except UnicodeDecodeError:
            raise ValueError(f"expected UTF-8 in {where}") from None
        if not text:
            raise ValueError(f"expected a secret in {where}, which is empty or missing")
        return text


class _Sourced(Kind):
    """A table that says where something is."""

    ways: ClassVar[tuple[str, ...]]

    @override
    def read(self, value: object) -> From:
        if isinstance(value, str):
            return self._plain(value)
        if not isinstance(value, dict):
            raise self.wrong(value)
        unknown = sorted(value.keys() - {*self.ways})
        if unknown or len(value) != 1:
            got = " and ".join(sorted(value)) or "nothing"
            raise Wrong(f"expected {self.words}, got a table with {got}")
        [(way, what)] = value.items()
        return self._checked(way, what)

    @abstractmethod
    def _plain(self, value: str) -> From:
        """What a text means."""

    def _checked(self, way: str, what: object) -> From:
        if way == "file":
            try:
                return From(way, FilePath().read(what))
            except Wrong as error:
                raise Wrong(str(error), (way,)) from None
        if not isinstance(what, str) or not re.fullmatch("[A-Za-z0-9_.:@-]+", what):
            kind = "an environment variable" if way == "env" else "a credential"
            raise Wrong(f"expected the name of {kind}, got {as_toml(what)}", (way,))
        return From(way, what)

    @override
    def show(self, value: Any) -> object:
        return {value.way: value.what} if value.way else "(hidden)"

    @override
    def schema(self) -> Schema:
        text = {"type": "string", "minLength": 1}
        table = {
            "type": "object",
            "properties": dict.fromkeys(self.ways, text),
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        return {"anyOf": [text, table]}


class FileFrom(_Sourced):
    """A file by its path, or one that systemd hands to the service."""

    words = 'a path, or { credential = "NAME" }'
    example = "path/to/file"
    ways = ("file", "credential")

    @override
    def _plain(self, value: str) -> From:
        return From("file", FilePath().read(value))


class SecretFrom(_Sourced):
    """A secret that stands somewhere else."""

    words = 'one of { file = "PATH" }, { env = "NAME" } and { credential = "NAME" }'
    example: object = {"file": "path/to/secret"}
    ways = ("file", "env", "credential")
    is_secret = True

    @override
    def _plain(self, value: str) -> From:
        if not value or "\0" in value:
            raise Wrong(f"expected {self.words}, and nothing empty")
        return From("", value)
