"""Django's cache, as far as processes agree through it: leases, and URLs that are kept.

Nothing that lies there is needed. A cache that cannot be reached is logged and does without.
"""

import logging
from hashlib import sha256
from typing import Any

from django.core.cache import caches

from .conf import conf

logger = logging.getLogger(__name__)


def key_of(kind: str, name: str) -> str:
    """A key for a stored name, which may be longer than a key may be, and hold what it may not."""
    return f"latentimg:{kind}:{sha256(name.encode()).hexdigest()}"


def ask(method: str, *arguments: object, unreachable: object = None) -> Any:
    """What a method of the cache that ``LATENTIMG["CACHE"]`` names answers."""
    try:
        return getattr(caches[conf.CACHE], method)(*arguments)
    except Exception:
        # What caches raise is not for us to know, and none of it is the client's affair.
        logger.exception("The cache %r cannot be reached.", conf.CACHE)
        return unreachable
