"""What building needs everywhere: paths relative to the file, lists in files of their own, and everything that goes
wrong meanwhile, so that all of it is said at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from socks5.app.config.conditions import FILE, Entry
from socks5.app.config.document import Document, Place, Problem, Refused, decoded, is_stream
from socks5.app.config.places import Path
from socks5.app.config.read import in_order
from socks5.files import read, why_not_written
from socks5.policy.sets import Listed

MAX_LIST = 64 << 20
"""Octets of a list."""

_COMMENT = re.compile(r"(?:^|\s)#")
"""What begins a comment: within a word it may be part of a user's name."""

SHOWN_LINES = 3
"""Wrong lines of a list that are told."""


class Building:
    """One attempt to make something of a document.

    :param document: what was said.
    :param is_only_looking: whether nobody is going to open what is to be written, so that it is tried.
    """

    def __init__(self, document: Document, is_only_looking: bool = False) -> None:
        self.document = document
        self.is_only_looking = is_only_looking
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.lists: dict[str, str] = {}
        """What lists have held, by their paths as they were written."""
        self._parsed: dict[tuple[str, type[Entry]], Listed] = {}

    def wrong(self, path: Path, sentence: str, is_about_key: bool = False) -> None:
        """Something cannot be made."""
        self.problems.append(self.document.problem(path, sentence, is_about_key))

    def warn(self, path: Path, sentence: str, is_about_key: bool = False) -> None:
        """Something is legal, but hardly meant."""
        self.warnings.append(self.document.problem(path, sentence, is_about_key))

    def finish(self) -> None:
        """:raises socks5.app.config.document.Refused: something was wrong."""
        if self.problems:
            raise Refused(in_order(self.problems))

    def path(self, text: str) -> str:
        """A path, in full."""
        return os.path.normpath(os.path.join(self.document.folder, text))

    def file(self, path: Path, text: str) -> str:
        """The path of a file that is going to be written, in full."""
        full = self.path(text)
        if not os.path.isdir(os.path.dirname(full)) or os.path.isdir(full):
            self.wrong(path, f"expected a file in a folder that exists, got {full}")
        elif self.is_only_looking and (reason := why_not_written(full)):
            self.wrong(path, f"expected a file that can be written, got {full} ({reason})")
        return full

    def entries(self, path: Path, written: Sequence[str], kind: Entry) -> list[str | Listed]:
        """Entries, and what is in the files among them.

        :param path: the key that has them.
        :param kind: theirs.
        """
        found: list[str | Listed] = []
        for number, text in enumerate(written):
            if text.startswith(FILE):
                at = (*path, number) if len(written) > 1 else path
                found.append(self._list(at, text.removeprefix(FILE), kind))
            else:
                found.append(text)
        return found

    def _list(self, path: Path, file: str, kind: Entry) -> Listed:
        key = file, type(kind)
        if key not in self._parsed:
            self._parsed[key] = Listed(file, self._read_list(path, file, kind))
        return self._parsed[key]

    def _read_list(self, path: Path, file: str, kind: Entry) -> list[str]:
        beside = self.document.file
        shown = file if is_stream(beside) else os.path.join(os.path.dirname(beside), file)
        text = self._text_of(path, file, shown)
        entries, wrong = [], list[int]()
        for number, line in enumerate(text.split("\n"), 1):
            entry = (_COMMENT.split(line, 1)[0] if "#" in line else line).strip()
            if not entry:
                continue
            try:
                kind.check(entry)
            except ValueError as error:
                wrong.append(number)
                if len(wrong) <= SHOWN_LINES:
                    self._wrong_in_list(path, Place(shown, number), str(error))
            else:
                entries.append(entry)
        if len(wrong) > SHOWN_LINES:
            count = len(wrong) - SHOWN_LINES
            sentence = f"{count} more {'line' if count == 1 else 'lines'} like these, from here on"
            self._wrong_in_list(path, Place(shown, wrong[SHOWN_LINES]), sentence)
        return entries

    def _wrong_in_list(self, path: Path, place: Place, sentence: str) -> None:
        owner = path[:-1] if isinstance(path[-1], int) else path
        what = self.document.name_of(owner).removesuffix(".entries")
        self.problems.append(Problem(place, what, sentence))

    def _text_of(self, path: Path, file: str, shown: str) -> str:
        """What a list holds; nothing if it cannot be told, which is wrong."""
        if file in self.document.lists:
            text = self.document.lists[file]
        else:
            try:
                text = decoded(read(self.path(file), MAX_LIST + 1), shown)
            except OSError as error:
                self.wrong(
                    path, f"expected a file that can be read, got {shown} ({error.strerror})"
                )
                return ""
            except Refused as error:
                self.problems += error.problems
                return ""
        if len(text) > MAX_LIST:
            self.wrong(path, f"expected {MAX_LIST} octets at the most in {shown}")
            return ""
        if not text.endswith("\n"):
            place = Place(shown, text.count("\n") + 1)
            what = (
                "a newline at the end"
                if text
                else "an entry, or a line with a # for a list of nothing; got an empty file"
            )
            self._wrong_in_list(path, place, f"expected {what}; is somebody still writing it?")
            return ""
        self.lists[file] = text
        return text
