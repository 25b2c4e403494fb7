"""What came before is not decoded again, and nothing else is kept."""

from socks5.protocol.messages import Request
from socks5.protocol.remembered import Remembered
from tests.support.negotiations import TARGET, TARGET_OCTETS, octets

WHOLE = octets(f"05 01 00 {TARGET_OCTETS}")


def test_only_whole_messages_are_remembered_and_only_so_many() -> None:
    """What came behind one may be a password or payload, and is nobody else's business."""
    decoded: list[bytes] = []

    def decoding(buffer: bytes) -> tuple[Request, int] | None:
        decoded.append(buffer)
        return Request.decode(buffer)

    decode = Remembered(decoding, 2).__getitem__
    assert decode(WHOLE) == decode(WHOLE) == (Request(1, TARGET), len(WHOLE))
    assert decoded == [WHOLE]
    for buffer in (WHOLE + b"secret", WHOLE[:-1]):
        assert decode(buffer) == decode(buffer) == Request.decode(buffer)
        assert decoded[1:] == [buffer, buffer]
        del decoded[1:]
    others = [octets(f"05 01 00 01 c0000201 00{port:02x}") for port in range(2)]
    for each in (*others, WHOLE):
        decode(each)
    assert decoded[1:] == [*others, WHOLE]
