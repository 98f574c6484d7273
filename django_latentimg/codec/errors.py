"""Everything the codec raises on purpose."""


class CodecError(Exception):
    """Base of all errors of the codec."""


class ImageError(CodecError):
    """A picture cannot be read, or is over a limit."""


class TooLargeError(ImageError):
    """A picture has more pixels than are accepted."""


class BlobError(CodecError):
    """Bytes are not a blob, or the blob is damaged, or newer than this program."""


class ModelError(CodecError):
    """A latent model cannot be loaded, or does not speak the blob's latent space."""
