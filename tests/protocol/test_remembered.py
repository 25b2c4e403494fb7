"""What came before is not decoded again, and nothing else is kept."""

import pytest

from socks5.protocol.messages import Request
from socks5.protocol.remembered import Remembered
from tests.support.negotiations import TARGET, TARGET_OCTETS, octets

WHOLE = octets(f"05 01 00 {TARGET_OCTETS}")


class Decoding:
    """Requests, decoded with a memory for two; ``decoded`` is what was not in it."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []
        self.decode = Remembered(self._decode, 2).__getitem__

    def _decode(self, buffer: bytes) -> tuple[Request, int] | None:
        self.decoded.append(buffer)
        return Request.decode(buffer)


def test_a_message_that_came_before_is_not_decoded_again() -> None:
    decoding = Decoding()
    first, again = decoding.decode(WHOLE), decoding.decode(WHOLE)
    assert first == again == (Request(1, TARGET), len(WHOLE))
    assert decoding.decoded == [WHOLE]


@pytest.mark.parametrize("buffer", [WHOLE + b"secret", WHOLE[:-1]])
def test_only_whole_messages_are_remembered(buffer: bytes) -> None:
    """What came behind one may be a password or payload, and is nobody else's business."""
    decoding = Decoding()
    assert decoding.decode(buffer) == decoding.decode(buffer) == Request.decode(buffer)
    assert decoding.decoded == [buffer, buffer]


def test_the_memory_is_bounded() -> None:
    decoding = Decoding()
    several = [octets(f"05 01 00 01 c0000201 00{port:02x}") for port in range(3)]
    for each in (*several, several[0]):
        decoding.decode(each)
    assert decoding.decoded == [*several, several[0]]
