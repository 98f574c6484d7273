import subprocess
import sys

SCRIPT = """
import re
import numpy as np
from PIL import Image
from django_latentimg import codec

side = np.linspace(0, 40, 8000, dtype=np.float32), np.linspace(0, 30, 6000, dtype=np.float32)
wave = (np.sin(side[0])[None] * np.cos(side[1])[:, None] * 100 + 128).astype(np.uint8)
picture = Image.merge("RGB", [Image.fromarray(wave)] * 3)
del wave
blob = codec.encode(picture)
del picture
decoded = codec.decode(blob)
assert decoded.size == (8000, 6000)
# Not getrusage(): its maximum is inherited from the process that started this one.
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_codec__takes_48_megapixels_in_less_than_one_and_a_half_gigabytes():
    """The whole process, with its libraries, encoding and then decoding."""
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert int(finished.stdout) * 1024 < 1.5e9
