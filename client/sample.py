"""Make ``src/page/sample.limg``, on which browsers try the decoder: ``python client/sample.py``.

320 × 320 pixels of grey. The decoder takes as long for it as for any picture of that size.
"""

from pathlib import Path

import numpy as np

from django_latentimg.codec import container, prior

SIDE = 320
FINENESS = 50


def main() -> None:
    header = container.Header(SIDE, SIDE, "sd1", 50, FINENESS, "0badcafe")
    symbols = np.zeros((4, *header.latent_shape), np.int64)
    blob = container.pack(header, {container.SYMBOLS: prior.encode_symbols(symbols, FINENESS)})
    (Path(__file__).parent / "src/page/sample.limg").write_bytes(blob)


if __name__ == "__main__":
    main()
