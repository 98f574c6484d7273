"""The blob: header and typed chunks (``docs/format.md``, normative)."""

import os
import struct
import zlib
from dataclasses import dataclass

from .errors import BlobError
from .pixels import MAX_PIXELS

MAGIC = b"LIMG"
VERSION = 5
READ_VERSIONS = (3, 4, VERSION)
"""Version 3 had no pictures and no patches, 4 no bare AVIF."""

SPACES = {1: "sd1", 2: "compact1"}
"""Latent spaces by their number in the header. ``sd1``: Stable Diffusion 1.x, scaled by 0.18215;
``compact1``: that of the bundled model ``compact``, which nothing else reads."""

SYMBOLS = b"S"
PALETTE = b"P"
IMAGE = b"I"
ALPHA = b"A"
PATCHES = b"R"
VERDICT = b"G"
SALT = b"N"
"""Means nothing; for two blobs of one picture that shall not be the same bytes."""

BODIES = (SYMBOLS, PALETTE, IMAGE)
"""What shows the picture; a blob has exactly one."""

_HEADER = struct.Struct(">4sBBIIBBB4s")
_CHUNK = struct.Struct(">cI")
_CRC = struct.Struct(">I")

HEADER_LENGTH = _HEADER.size + _CRC.size


@dataclass(frozen=True)
class Header:
    """What a blob says of itself before its chunks."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    space: str
    """Latent space, a value of ``SPACES``."""
    quality: int
    """1 to 100, what was asked for. Informative."""
    fineness: int
    """1 to 100, determines the quantiser's step. Means nothing without symbols."""
    model: str
    """Fingerprint of the latent model that encoded, 8 hexadecimal digits. Informative."""

    @property
    def latent_shape(self) -> tuple[int, int]:
        """(rows, columns) of the latents: the size in pixels over 8, rounded up."""
        return -(-self.height // 8), -(-self.width // 8)


def pack(header: Header, chunks: dict[bytes, bytes]) -> bytes:
    """Header and chunks as the bytes of a blob."""
    space = next(number for number, name in SPACES.items() if name == header.space)
    head = _HEADER.pack(
        MAGIC,
        VERSION,
        0,
        header.width,
        header.height,
        space,
        header.quality,
        header.fineness,
        bytes.fromhex(header.model),
    )
    parts = [head, _CRC.pack(zlib.crc32(head))]
    for kind, payload in chunks.items():
        start = _CHUNK.pack(kind, len(payload))
        parts += [start, payload, _CRC.pack(zlib.crc32(payload, zlib.crc32(start)))]
    return b"".join(parts)


def salted(blob: bytes) -> bytes:
    """The same picture in other bytes."""
    header, chunks = unpack(blob)
    return pack(header, chunks | {SALT: os.urandom(4)})


def length(chunks: dict[bytes, bytes]) -> int:
    """Bytes of a blob of these chunks."""
    frame = _CHUNK.size + _CRC.size
    return HEADER_LENGTH + sum(frame + len(payload) for payload in chunks.values())


def unpack(blob: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[Header, dict[bytes, bytes]]:
    """Inverse of ``pack``. Chunks of unknown type are returned too; nothing of them is read.

    Raises ``BlobError`` for anything that is not a whole, undamaged blob of this version with
    1 to ``max_pixels`` pixels.
    """
    if blob[: len(MAGIC)] != MAGIC:
        raise BlobError("These bytes are not a latent blob.")
    if len(blob) < HEADER_LENGTH:
        raise BlobError("The blob ends within its header.")
    if blob[len(MAGIC)] not in READ_VERSIONS:
        raise BlobError(
            f"The blob has version {blob[len(MAGIC)]}; up to version {VERSION} is read here."
        )
    _check(blob[: _HEADER.size], blob[_HEADER.size : HEADER_LENGTH], "header")
    _, _, flags, width, height, space, quality, fineness, model = _HEADER.unpack_from(blob)
    in_range = all(1 <= value <= 100 for value in (quality, fineness))
    if flags or space not in SPACES or not in_range:
        raise BlobError("The blob's header has values that this version does not know.")
    if not 1 <= width * height <= max_pixels:
        raise BlobError(f"{width} × {height} pixels; from 1 to {max_pixels} are read.")
    header = Header(width, height, SPACES[space], quality, fineness, model.hex())
    return header, _unpack_chunks(blob)


def _unpack_chunks(blob: bytes) -> dict[bytes, bytes]:
    chunks: dict[bytes, bytes] = {}
    position = HEADER_LENGTH
    while position < len(blob):
        start = blob[position : position + _CHUNK.size]
        if len(start) < _CHUNK.size:
            raise BlobError("The blob ends within a chunk.")
        kind, length = _CHUNK.unpack(start)
        end = position + _CHUNK.size + length
        if end + _CRC.size > len(blob):
            raise BlobError("The blob ends within a chunk.")
        payload = blob[position + _CHUNK.size : end]
        _check(start + payload, blob[end : end + _CRC.size], f"chunk {kind!r}")
        if kind in chunks:
            raise BlobError(f"The blob has chunk {kind!r} twice.")
        chunks[kind] = payload
        position = end + _CRC.size
    if sum(body in chunks for body in BODIES) != 1:
        raise BlobError("The blob has no picture, or has more than one.")
    return chunks


def _check(data: bytes, crc: bytes, what: str) -> None:
    if _CRC.pack(zlib.crc32(data)) != crc:
        raise BlobError(f"The blob's {what} is damaged.")
