"""TOML documents in all of its forms, with where everything in them stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

BARE = re.compile("[A-Za-z0-9_-]+")
KEYS = st.one_of(
    st.sampled_from(["a", "b", "c", "name", "1", "3-4", "x_y"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=4),
)
TEXTS = st.text(
    st.one_of(
        st.sampled_from("#]}[{,='\"\\\n "),
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]),
    ),
    max_size=6,
)
PLAIN = st.sampled_from(
    [
        *("0", "-17", "1_000", "0xdead_beef", "0o755", "0b01", "+1.5", "6.02e-23", "inf", "-nan"),
        *("true", "false", "1979-05-27", "07:32:00", "07:32:00.99", "1979-05-27T07:32:00Z"),
        *("1979-05-27 07:32:00", "1979-05-27 07:32:00.5-07:00", "1979-05-27t00:32:00.999999"),
    ]
)


def escaped(text: str) -> str:
    """*text* for between quotation marks."""
    return re.sub(r'[\\"\x00-\x1f\x7f]', lambda found: f"\\u{ord(found[0]):04x}", text)


@dataclass
class Written:
    """A document.

    :param text: the whole of it.
    :param keys: how the key of each path is written, and where.
    :param values: likewise each value; of a table with a header, that header.
    """

    text: str = ""
    keys: dict[Path, tuple[int, str]] = field(default_factory=dict)
    values: dict[Path, tuple[int, str]] = field(default_factory=dict)


class Writer:
    """Writes one document, of which every form is drawn.

    :param draw: Hypothesis's.
    """

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.newline = draw(st.sampled_from(["\n", "\r\n"]))
        self.written = Written()

    def put(self, text: str) -> int:
        """Write something.

        :returns: where it begins.
        """
        start = len(self.written.text)
        self.written.text += text
        return start

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def blanks(self) -> None:
        self.put(self.one_of("", "", " ", "\t "))

    def end_of_line(self) -> None:
        self.put(self.one_of("", "", " # a [comment] = \"'''", "\t#") + self.newline)

    def between_lines(self) -> None:
        for _ in range(self.one_of(0, 0, 0, 1, 2)):
            self.blanks()
            self.end_of_line()
        self.blanks()

    def key(self, path: Path, shown: str) -> None:
        forms = [f'"{escaped(shown)}"']
        if BARE.fullmatch(shown):
            forms += [shown] * 4
        if "'" not in shown:
            forms.append(f"'{shown}'")
        text = self.one_of(*forms)
        self.written.keys.setdefault(path, (self.put(text), text))

    def dotted(self, path: Path, parts: list[tuple[Path, str]]) -> None:
        for number, (at, name) in enumerate(parts):
            if number:
                self.put(self.one_of(".", ".", " . ", "\t."))
            self.key(at, name)

    def value(self, path: Path, depth: int = 2) -> None:
        kind = self.one_of("text", "plain", "array", "table") if depth else "text"
        start = self.put("")
        if kind == "array":
            self.array(path, depth)
        elif kind == "table":
            self.inline(path, depth)
        else:
            self.put(self.draw(PLAIN) if kind == "plain" else self.string())
        self.written.values[path] = start, self.written.text[start:]

    def string(self) -> str:
        text = self.draw(TEXTS)
        lines = text.replace("\n", self.newline)
        forms = [f'"{escaped(text)}"']
        if not re.search("['\n]", text):
            forms.append(f"'{text}'")
        if "'''" not in text and not text.endswith("'''"):
            forms.append(f"'''{self.newline}{lines}'''")
        quoted = lines.replace("\\", "\\\\").replace('"""', '""\\"')
        forms.append(f'"""{quoted}"""')
        forms.append(f'"""\\{self.newline}   {quoted}"""')
        text = self.one_of(*forms)
        assert isinstance(text, str)
        return text

    def array(self, path: Path, depth: int) -> None:
        self.put("[")
        self.between_lines()
        count = self.one_of(0, 1, 2, 3)
        for number in range(count):
            self.value((*path, number), depth - 1)
            at = (*path, number)
            self.written.keys[at] = self.written.values[at]
            self.between_lines()
            if number < count - 1 or self.one_of(True, False):
                self.put(",")
                self.between_lines()
        self.put("]")

    def inline(self, path: Path, depth: int) -> None:
        self.put("{")
        self.blanks()
        for number, name in enumerate(self.names()):
            if number:
                self.put(",")
                self.blanks()
            self.statement(path, name, depth - 1)
            self.blanks()
        self.put("}")

    def names(self) -> list[str]:
        names: list[str] = self.draw(st.lists(KEYS, max_size=3, unique=True))
        return names

    def statement(self, path: Path, name: str, depth: int) -> None:
        """``name = value``, or ``name.more = value``."""
        parts = [((*path, name), name)]
        while self.one_of(True, False, False):
            more = self.draw(KEYS)
            parts.append(((*parts[-1][0], more), more))
        self.dotted(path, parts)
        for at, _ in parts[:-1]:
            self.written.values[at] = self.written.keys[at]
        self.put(self.one_of("=", " = ", "\t="))
        self.value(parts[-1][0], depth)

    def header(self, path: Path, is_item: bool = False) -> None:
        """``[path]``, or ``[[path]]`` for the item of an array that *path* ends with."""
        start = self.put("[[" if is_item else "[")
        self.blanks()
        ends = [end for end, name in enumerate(path, 1) if isinstance(name, str)]
        if not is_item:
            self.written.keys.pop(path, None)  # the header is the better place
        self.dotted(path, [(path[:end], str(path[end - 1])) for end in ends])
        self.blanks()
        self.put("]]" if is_item else "]")
        for end in ends:
            self.written.values.setdefault(path[:end], (start, "["))
        self.written.values[path] = start, "["
        if is_item:
            self.written.keys[path] = start, "["
        self.end_of_line()

    def table(self, path: Path, depth: int) -> None:
        """A table, whose header is written, if it has one; then those in it."""
        self.between_lines()
        names = self.names()
        count = self.one_of(*range(len(names) + 1))
        for name in names[:count]:
            self.statement(path, name, 2)
            self.end_of_line()
            self.between_lines()
        for name in names[count:] if depth else []:
            below = (*path, name)
            if self.one_of(True, False):
                self.header(below)
                self.table(below, depth - 1)
                continue
            if self.one_of(True, False):
                for number in range(self.one_of(1, 2, 3)):
                    self.header((*below, number), is_item=True)
                    self.table((*below, number), depth - 1)
                continue
            self.header((*below, "late"))  # before the one that holds it
            self.between_lines()
            if self.one_of(True, False):
                self.header(below)


@st.composite
def documents(draw: Any) -> Written:
    """Any TOML document."""
    writer = Writer(draw)
    writer.table((), 2)
    return writer.written
