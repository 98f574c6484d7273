"""Range coder over 15-bit frequencies, in exact 32-bit integers (Martin, 1979).

Normative for the bitstream. A distribution is a list of cumulative frequencies that starts at 0
and ends at ``TOTAL``; every symbol has a frequency of at least 1. Coding loses less than 0.2 %
against the distribution's entropy, because the range never has fewer than 24 bits.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from .errors import BlobError

TOTAL_BITS = 15
TOTAL = 1 << TOTAL_BITS

_TOP = 1 << 32
_BOTTOM = 1 << 24
_LOOK_AHEAD = 4
"""Bytes that the decoder reads beyond those that the encoder had to write."""


class RangeEncoder:
    """``encode()`` every symbol, then take the bytes from ``finish()``."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _TOP - 1
        self._bytes = bytearray()

    def encode(self, start: int, frequency: int) -> None:
        """Narrow the range to [start, start + frequency) of ``TOTAL``."""
        unit = self._range >> TOTAL_BITS
        self._low += unit * start
        self._range = unit * frequency
        if self._low >= _TOP:
            self._low -= _TOP
            self._carry()
        while self._range < _BOTTOM:
            self._bytes.append(self._low >> 24)
            self._low = (self._low << 8) & (_TOP - 1)
            self._range <<= 8

    def encode_bits(self, value: int, bits: int) -> None:
        """``bits`` (at most 15) equally likely bits."""
        width = TOTAL >> bits
        self.encode(value * width, width)

    def _carry(self) -> None:
        position = len(self._bytes) - 1
        while self._bytes[position] == 255:
            self._bytes[position] = 0
            position -= 1
        self._bytes[position] += 1

    def finish(self) -> bytes:
        """All bytes, with as few at the end as tell the last range apart."""
        for count in range(1, _LOOK_AHEAD + 1):
            unit = 1 << (32 - 8 * count)
            value = -(-self._low // unit) * unit
            if value < self._low + self._range:
                break
        if value >= _TOP:
            value -= _TOP
            self._carry()
        return bytes(self._bytes) + value.to_bytes(4, "big")[:count]


class RangeDecoder:
    """``decode()`` with the distributions in the encoder's order."""

    def __init__(self, data: bytes) -> None:
        self._data = data + bytes(_LOOK_AHEAD)
        self._position = 4
        self._code = int.from_bytes(self._data[:4], "big")
        self._range = _TOP - 1

    def decode(self, cumulative: Sequence[int]) -> int:
        """Index of the next symbol. Raises ``BlobError`` when the bytes have run out."""
        return self.decode_run([cumulative])[0]

    def decode_run(
        self, distributions: Iterable[Sequence[int]], escape: int = -1, escape_bits: int = 0
    ) -> list[int]:
        """Indices of the next symbols; ``escape + bits`` where ``escape`` and bits were coded.

        Raises ``BlobError`` when the bytes have run out.
        """
        data, position, code, range_ = self._data, self._position, self._code, self._range
        indices: list[int] = []
        try:
            for cumulative in distributions:
                unit = range_ >> TOTAL_BITS
                index = bisect_right(cumulative, code // unit) - 1
                start = cumulative[index]
                code -= unit * start
                range_ = unit * (cumulative[index + 1] - start)
                while range_ < _BOTTOM:
                    code = code << 8 | data[position]
                    position += 1
                    range_ <<= 8
                if index == escape:
                    self._position, self._code, self._range = position, code, range_
                    index += self.decode_bits(escape_bits)
                    position, code, range_ = self._position, self._code, self._range
                indices.append(index)
        except IndexError:
            # Beyond the last byte, or beyond the end of the distribution.
            raise BlobError("The entropy-coded bytes are damaged or end too early.") from None
        self._position, self._code, self._range = position, code, range_
        return indices

    def decode_bits(self, bits: int) -> int:
        """``bits`` (at most 15) equally likely bits."""
        width = TOTAL >> bits
        return self.decode(range(0, TOTAL + 1, width))

    def finish(self) -> None:
        """Raises ``BlobError`` unless every byte was needed."""
        if self._position < len(self._data) - _LOOK_AHEAD:
            raise BlobError("There are bytes after the last symbol.")
