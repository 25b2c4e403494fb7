"""Settings and capacities for tests that care for a few of them."""

from dataclasses import fields
from typing import Any

from socks5.settings import Capacity, Settings

_OF_CAPACITY = {field.name for field in fields(Capacity)}


def settings_and_capacity(**values: Any) -> tuple[Settings, Capacity]:
    """Both, each with those of the values that it has."""
    capacity = {name: values.pop(name) for name in _OF_CAPACITY & values.keys()}
    return Settings(**values), Capacity(**capacity)
