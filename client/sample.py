"""Make ``src/page/sample-*.limg``, on which browsers try decoders: ``python client/sample.py``.

320 × 320 pixels of one colour. The decoder takes as long for it as for any picture of that size.
"""

from pathlib import Path

import numpy as np

from django_latentimg.codec import container, prior

SIDE = 320
FINENESS = 50


def main() -> None:
    for space in container.SPACES.values():
        header = container.Header(SIDE, SIDE, space, 50, FINENESS, "0badcafe")
        symbols = np.zeros((4, *header.latent_shape), np.int64)
        coded = prior.encode_symbols(symbols, FINENESS, space)
        path = Path(__file__).parent / f"src/page/sample-{space}.limg"
        path.write_bytes(container.pack(header, {container.SYMBOLS: coded}))


if __name__ == "__main__":
    main()
