import numpy as np
import pytest

pytest.importorskip("imagequant")

from benchmarks import codec as benchmark
from benchmarks import codecs
from tests.conftest import picture, shared


def rows(name: str, factor: float, qualities: tuple[int, ...]) -> list[dict[str, str]]:
    """A codec whose measures grow with the logarithm of its rate, on two pictures."""
    made = []
    for number, quality in enumerate(qualities):
        for shown in ("one", "two"):
            rate = factor * 0.05 * 2 ** (number / 2)
            grows = 10 * np.log2(rate / factor) + (5 if shown == "two" else 0)
            values = {"bytes": 1000 * rate, "bpp": rate}
            values |= dict.fromkeys(benchmark.MEASURES, grows)
            values |= dict.fromkeys(benchmark.SMALLER_IS_BETTER, -grows)
            key = {"view": "crop", "picture": shown, "codec": name, "parameter": str(quality)}
            made.append(key | {"version": "1"} | {k: f"{v:.6f}" for k, v in values.items()})
    return made


ROWS = [
    *rows("WebP m6", 1.0, (0, 10, 20, 30, 40, 50)),
    *rows("AVIF s4", 0.8, (0, 10, 20, 30, 40, 50)),
    *rows("latentimg effort 0", 0.5, (10, 20, 30, 40, 50)),
]


SMALLER = "latentimg compact effort 0"


def cells(table: str, codec: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {codec} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_bjontegaard_table__compares_at_equal_measure():
    table = benchmark.bjontegaard_table(ROWS, "crop", "WebP m6")
    assert set(cells(table, "AVIF s4")) == {"-20 %"}
    assert set(cells(table, "latentimg effort 0")) == {"-50 %"}


def test_quality_rates_table__compares_each_quality_at_equal_measure():
    anchor = "latentimg effort 0"
    table = benchmark.quality_rates_table([*ROWS, *rows(SMALLER, 0.4, (10, 20))], "crop", anchor)
    lines = [line for line in table.splitlines() if line.startswith(f"| {SMALLER} |")]
    assert [line.split("|")[2].strip() for line in lines] == ["10", "20"]
    assert all(line.count("| -20 % ") == len(benchmark.MEASURES) for line in lines)


def test_equal_bytes_table__counts_the_pictures_on_which_ours_is_better():
    table = benchmark.equal_bytes_table(ROWS, "crop", "AVIF s4")
    assert all(cell.endswith("(2 of 2)") for cell in cells(table, "latentimg effort 0"))


def test_quality_table__names_the_peers_quality_of_the_same_mean():
    table = benchmark.quality_table(ROWS, "crop")
    line = next(line for line in table.splitlines() if line.startswith("| latentimg effort 0 | 30"))
    assert [cell.strip() for cell in line.strip("|").split("|")][3:] == [
        "2.5",
        "20 (± 2.5)",
        "20 (± 2.5)",
    ]


def test_measure_picture__measures_only_what_is_not_there(tmp_path, monkeypatch):
    source = tmp_path / "llama.png"
    picture(192, 176).save(source)
    encoded: list[float] = []

    def made(version: str) -> codecs.Codec:
        jpeg = codecs.pillow("JPEG", "JPEG", (10, 50))

        def encode(pixels: np.ndarray, quality: float) -> bytes:
            encoded.append(quality)
            return jpeg.encode(pixels, quality)

        return codecs.Codec("JPEG", version, jpeg.parameters, encode, jpeg.decode)

    known: dict[tuple[str, ...], dict[str, str]] = {}

    def lpips(a: np.ndarray, b: np.ndarray) -> float:
        return 0.5

    for version in ("1", "1", "2"):
        benchmark.measure_picture("full", source, [made(version)], lpips, known)
    assert encoded == [10, 50, 10, 50]
    assert {row["version"] for row in known.values()} == {"2"}
    table = tmp_path / "rows.csv"
    benchmark.save(table, known.values())
    assert benchmark.load(table) == known


def test_codecs__every_file_decodes_to_the_picture():
    """The peers that are built here; at their best quality."""
    taesd = str(shared("models/taesd"))
    pixels = np.asarray(picture(256, 192))
    for codec in (codecs.taesd_static(taesd, (0.35,)), codecs.buehlmann(taesd)):
        decoded = codec.decode(codec.encode(pixels, codec.parameters[-1]))
        assert benchmark.psnr(pixels, decoded) > 20, codec.name


def test_buehlmann__takes_the_bytes_that_were_published():
    """Some 5,090 bytes for 512×512 pixels: 1,024 of palette, 4,096 of indices, zlib."""
    codec = codecs.buehlmann(str(shared("models/taesd")))
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    size = len(codec.encode(noise.repeat(8, 0).repeat(8, 1), 0))
    assert 4800 < size < 5200
