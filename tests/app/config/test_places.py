"""Every path of tomllib's tree has the place where it is written."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from socks5.app.config.places import Lines, Path, Spot, places
from tests.support.toml import Written, documents


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from paths(each, (*path, number))


@settings(max_examples=60)
@given(documents())
def test_every_path_has_the_place_where_it_is_written(document: Written) -> None:
    text = document.text
    found = dict(places(text))
    assert set(found) == set(paths(tomllib.loads(text)))
    del found[()]
    assert {path: spot.key for path, spot in found.items()} == {
        path: offset for path, (offset, _) in document.keys.items()
    }
    for path, (offset, value) in document.values.items():
        assert found[path].value == offset, path
        assert text.startswith(value, offset)


@pytest.mark.parametrize(
    ("text", "path", "key", "value"),
    [
        ("a = 1", ("a",), 0, 4),
        ("a.b = 1", ("a",), 0, 0),
        ("a.b = 1", ("a", "b"), 2, 6),
        ("[a.b]\n[a]\n", ("a",), 7, 6),
        ("[a.b]\n", ("a",), 1, 0),
        ("[[a]]\n[[a]]\nb = 1", ("a", 1), 6, 6),
        ("[[a]]\n[[a]]\nb = 1", ("a",), 2, 0),
        ("[[a]]\n[a.b.c]\n[[a.b.d]]", ("a", 0, "b"), 9, 6),
        ("[[a]]\n[a.b]\n[[a.c]]\nd = [ {e = 1} ]", ("a", 0, "c", 0, "d", 0, "e"), 27, 31),
        ('"a\\u0062" = """\n"""""  # x = 1\n', ("ab",), 0, 12),
        ("a = [1, 1979-05-27 07:32:00,]", ("a", 1), 8, 8),
    ],
)
def test_a_place_is_that_of_the_key_and_of_the_value(
    text: str, path: Path, key: int, value: int
) -> None:
    assert places(text)[path] == Spot(key, value)


def test_arrays_may_be_as_deep_as_tomllib_takes_them() -> None:
    depth = 150
    text = f"a = {'[' * depth}{']' * depth}"
    assert len(places(text)) == depth + 1 == len(list(paths(tomllib.loads(text))))


def test_lines_and_columns_are_counted_in_characters_from_1() -> None:
    lines = Lines("a\r\n\u00e4\U0001f600b\n\nc")
    assert [lines.of(offset) for offset in (0, 2, 3, 5, 7, 8)] == [
        (1, 1),
        (1, 3),
        (2, 1),
        (2, 3),
        (3, 1),
        (4, 1),
    ]
