"""Grammar of stored names.

A column holds either a source's name, ``photos/llama.jpg``, or a blob's,
``photos/llama.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg``: the source's name, the displayed size in
pixels (EXIF orientation applied), the blob's bytes, its digest and the policy's fingerprint. Pages
learn all they need from the name alone, and a blob's name never changes meaning.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .codec import Latent

EXTENSION = ".limg"

SUFFIX_LENGTH = len(".999999x999999-999999999.01234567-0123" + EXTENSION)
"""Most characters that a blob's name adds to its source's."""

_PATTERN = re.compile(
    r"(?P<source>.+)"
    r"\.(?P<width>[1-9]\d{0,5})x(?P<height>[1-9]\d{0,5})-(?P<bytes>[1-9]\d{0,8})"
    r"\.(?P<digest>[0-9a-f]{8})-(?P<policy>[0-9a-f]{4})" + re.escape(EXTENSION),
    re.DOTALL | re.ASCII,
)


@dataclass(frozen=True)
class BlobName:
    """The parts of a blob's name; ``str()`` puts them together."""

    source: str
    """Name of the source it was made from."""
    width: int
    """Displayed width, pixels."""
    height: int
    """Displayed height, pixels."""
    bytes: int
    """Of the blob."""
    digest: str
    """First 8 hexadecimal digits of the blob's SHA-256."""
    policy: str
    """First 4 hexadecimal digits of the policy's SHA-256."""

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}-{self.bytes}"
        return f"{self.source}.{size}.{self.digest}-{self.policy}{EXTENSION}"

    @classmethod
    def of(cls, latent: "Latent", source: str, policy: str) -> "BlobName":
        """Of the blob that was made of ``source``."""
        return cls(source, latent.width, latent.height, latent.bytes, latent.digest, policy)

    @classmethod
    def parse(cls, name: str) -> "BlobName | None":
        """The parts of ``name``, or None where it is a source's."""
        match = _PATTERN.fullmatch(name)
        if match is None:
            return None
        return cls(
            source=match["source"],
            width=int(match["width"]),
            height=int(match["height"]),
            bytes=int(match["bytes"]),
            digest=match["digest"],
            policy=match["policy"],
        )


def source_of(name: str) -> str:
    """The source's name, given its own or its blob's."""
    blob_name = BlobName.parse(name)
    return blob_name.source if blob_name else name
