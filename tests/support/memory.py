"""What an object keeps alive."""

import gc
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType


def held_by(root: object) -> Iterator[object]:
    """All that an object keeps alive, but for modules, classes and what functions find in them."""
    seen: dict[int, object] = {}
    left = [root]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, ModuleType | type):
            continue
        seen[id(each)] = each
        if isinstance(each, FunctionType):
            left += [each.__closure__, each.__defaults__]
        else:
            left += gc.get_referents(each)
    yield from seen.values()


def holds(root: object, octets: bytes) -> bool:
    """Whether they are kept, alone or among others."""
    return any(isinstance(each, bytes) and octets in each for each in held_by(root))


def octets_held_by(root: object) -> int:
    """How many are kept."""
    return sum(len(each) for each in held_by(root) if isinstance(each, bytes | bytearray))


def _blocks() -> int:
    """How many blocks of memory objects have, without those that nobody uses."""
    gc.collect()
    return sys.getallocatedblocks()


def stays_flat(play: Callable[[int], object], rounds: int) -> bool:
    """Whether so many rounds leave nothing behind, once the first tenth of them has filled what is kept once. Not even
    one small object each; some are in what is logged.
    """
    for number in range(rounds // 10):
        play(number)
    before = _blocks()
    for number in range(rounds // 10, rounds):
        play(number)
    return _blocks() - before < rounds // 2
