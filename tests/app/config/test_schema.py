"""The schema for editors: it is that of the table of keys, and agrees with the reader."""

import tomllib

import jsonschema
import pytest

from socks5.app.config.schema import SHIPPED, schema, schema_text
from tests.app.config.test_read import GOOD


def test_the_shipped_schema_is_that_of_the_keys() -> None:
    assert SHIPPED.read_text() == schema_text()


def test_the_schema_is_one_and_takes_what_the_reader_takes() -> None:
    jsonschema.Draft4Validator.check_schema(schema())
    for text in (GOOD, ""):
        jsonschema.Draft4Validator(schema()).validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "[servr]",
        "server.workers = 0",
        'server.workers = "al"',
        "timeouts.idle = 30",
        'timeouts.connect = "off"',
        'timeouts.connect = ""',
        'server.commands = "upd"',
        "server.commands = []",
        "listener.Foo = {}",
        'auth.x = { type = "pam" }',
        'auth.x = { type = "pam", file = "x" }',
        'auth.x = { type = "file", file = {} }',
        'rule = [{ name = "x" }]',
        'rule = [{ name = "x", action = "allow", ports = "x" }]',
        'limit.x = { down = "20" }',
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema()).validate(tomllib.loads(text))
