"""What ``socks5 check`` says of a file: the loader itself, and what is hardly meant. It opens no port, asks no server,
and misses no socket of systemd's.
"""

from __future__ import annotations

from collections.abc import Sequence

from socks5.app.config.build import build
from socks5.app.config.building import Building
from socks5.app.config.document import Problem, Refused, load
from socks5.app.config.read import in_order
from socks5.app.config.sense import warn
from socks5.app.config.uncollected import uncollected


@uncollected()
def check(file: str) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """Everything that is wrong with a file, and what is hardly meant.

    :param file: as it was named.
    """
    try:
        made = build(load(file, is_once=True), is_only_looking=True)
    except Refused as error:
        return error.problems, ()
    building = Building(made.document)
    certificates = {each.at.policy.name: each.certificates for each in made.listeners}
    for name, each in certificates.items():
        for warning in () if each is None else each.warnings:
            building.warn(("listener", name, "tls"), warning)
    warn(made.configuration, building, made.logins.accepted)
    return (), in_order([*made.warnings, *building.warnings])
