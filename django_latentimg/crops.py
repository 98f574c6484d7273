"""Parts of a picture: a ratio, laid around the point that matters."""

import re
from typing import Any, NamedTuple

_RATIO = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})", re.ASCII)


class Crop(NamedTuple):
    """The largest part of a picture that has this ratio, with the focus as central as can be."""

    across: int
    down: int
    x: int = 50
    """The focus, percent of the picture's width."""
    y: int = 50
    """Percent of its height."""

    @classmethod
    def parse(cls, ratio: str, focus: tuple[int, int] = (50, 50)) -> "Crop":
        """Of a ratio such as ``16/9``. Raises ``ValueError``."""
        match = _RATIO.fullmatch(ratio)
        if not match:
            raise ValueError(f"{ratio!r} is no ratio such as '16/9'.")
        return cls(int(match[1]), int(match[2]), *focus)

    @property
    def ratio(self) -> str:
        """Such as ``16/9``."""
        return f"{self.across}/{self.down}"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Of the part, in a picture of this size; pixels."""
        if width * self.down > height * self.across:
            return max(1, round(height * self.across / self.down)), height
        return width, max(1, round(width * self.down / self.across))

    def offset(self, outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
        """Where a part of the size ``inner`` begins: (left, top), pixels."""
        left, top = (
            min(max(0, round(whole * percent / 100 - part / 2)), whole - part)
            for whole, part, percent in zip(outer, inner, (self.x, self.y), strict=True)
        )
        return left, top


def read_focus(value: Any) -> tuple[int, int]:
    """Percent, of ``[x, y]`` in shares of width and height; the middle where that is no point."""
    try:
        x, y = (round(100 * float(share)) for share in value)
    except (TypeError, ValueError, OverflowError):
        return 50, 50
    return (x, y) if 0 <= x <= 100 and 0 <= y <= 100 else (50, 50)
