"""The README's code blocks: for the tests, and as ``python tests/support/readme.py NAME`` for CI."""

import itertools
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parent.parent.parent / "README.rst"


@dataclass(frozen=True)
class Block:
    """A ``code-block``: its language, its ``:name:`` (or nothing), the text, and where it begins."""

    language: str
    name: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.language}-line-{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a shell script without its comments; a line that ends with ``\\`` or ``|`` goes on."""
        text = re.sub(r"^#.*\n", "", self.text, flags=re.MULTILINE)
        return re.sub(r"\\\n\s*|(?<=\|)\n\s*", "", text).splitlines()


def blocks(text: str) -> list[Block]:
    """Return every ``code-block`` of an RST text, in order."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(".. code-block:: ")]
    return [_block(lines, start) for start in starts]


def _block(lines: list[str], start: int) -> Block:
    indented = itertools.takewhile(lambda line: not line or line[0] == " ", lines[start + 1 :])
    body = textwrap.dedent("\n".join(indented)).splitlines()
    blank = body.index("")  # between the options and the text
    name = "".join(body[:blank]).removeprefix(":name:").strip()
    return Block(lines[start].split()[-1], name, "\n".join(body[blank:]).strip() + "\n", start + 1)


def named(name: str) -> Block:
    """Return the README's block with this ``:name:``."""
    [block] = (each for each in blocks(README.read_text()) if each.name == name)
    return block


if __name__ == "__main__":
    print(named(sys.argv[1]).text, end="")
