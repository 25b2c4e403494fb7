"""The table of keys as JSON Schema, Draft 4, for editors: completion, and a mark below what is wrong.

It knows less than the reader: nothing of names that nothing bears, for one.
"""

from __future__ import annotations

import json
from importlib.resources import files

from socks5.app.config.keys import Configuration
from socks5.app.config.tables import Table
from socks5.app.config.values import Schema

SHIPPED = files("socks5.app.config") / "socks5.schema.json"
"""The same, as a file of the package."""


def schema() -> Schema:
    """What a file may hold."""
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": "socks5",
        **Table(Configuration).schema(),
    }


def schema_text() -> str:
    """That, as a file."""
    return f"{json.dumps(schema(), indent=1)}\n"
