"""What the plan starts from: figures that were measured, read from ``benchmarks/results``, and
assumptions, which stand here and nowhere else."""

import csv
import json
import math
import statistics
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent.parent / "results"

WIDTHS = 320, 640, 960, 1280, 1920
"""A field's default."""
GB = 1e9
DAY = 86_400.0
MONTH = 30.0
"""Days."""


@dataclass(frozen=True)
class Photograph:
    """Of one kind of site."""

    name: str
    megapixels: float
    source: float
    """Bytes."""
    blob: float
    blob_range: tuple[float, float]

    @property
    def width(self) -> float:
        """Of a photograph four wide and three high."""
        return math.sqrt(self.megapixels * 1e6 * 4 / 3)

    @property
    def widths(self) -> list[float]:
        """Of its renditions: of those above its own the first, at its own width."""
        smaller: list[float] = [float(width) for width in WIDTHS if width < self.width]
        return [*smaller, self.width] if len(smaller) < len(WIDTHS) else smaller


@dataclass(frozen=True)
class Assumed:
    """Nobody measured these: replace them by your own."""

    photographs: int = 100_000_000
    telephone_megapixels: float = 12.0
    telephone_source: float = 3.5e6
    """Bytes of a JPEG from a telephone."""

    uploads_a_day: float = 100_000
    swing: float = 0.8
    """The daily curve is a sine: the busiest moment has 1 + this times the mean."""
    transient: float = 0.01
    """Share of attempts that storage or database spoil."""
    deaths: float = 1 / (7 * DAY)
    """Of a worker process, a second: once a week."""
    restart: float = 30.0
    """Seconds until another takes its place."""

    page_views_a_day: float = 50e6
    pictures_a_page: float = 20
    in_browser: float = 0.4
    """Share of what pages show that the browser has."""
    zipf: float = 0.9
    """Exponent of the pictures' popularity."""
    width_shares: tuple[float, ...] = (0.25, 0.35, 0.2, 0.12, 0.08)
    """Which of ``WIDTHS`` browsers ask for; the last that there is takes the rest."""
    cdn_bytes: tuple[float, ...] = (0.1e12, 1e12, 10e12)
    expiry_days: tuple[float, ...] = (7, 30, 365)
    """After which the bucket of renditions deletes what was made."""
    plan_cdn: float = 1e12
    plan_expiry: float = 365

    # Money is in USD, of the order of public list prices of 2025, which were not looked up.
    storage_gb_month: float = 0.023
    put_1000: float = 0.005
    """LIST too."""
    get_1000: float = 0.0004
    core_hour: float = 0.04
    gpu_hour: float = 1.0
    egress_gb: float = 0.02
    """From the CDN to browsers, at volume."""

    prefix_gets: float = 5500
    prefix_puts: float = 3500
    """Requests a second that an S3 bucket takes for each prefix of its keys."""

    gpu_speedup: tuple[float, ...] = (10, 50, 200)
    """Of the networks on a GPU over one core: measured nowhere."""
    gpu_cores: int = 16
    """Cores beside a GPU."""


@dataclass(frozen=True)
class Measured:
    """By which file: docs/capacity.md lists them."""

    pictures: dict[str, list[dict[str, Any]]]
    database: dict[str, Any]
    delivery: dict[str, Any]
    load: dict[str, Any] | None
    guard_blob: float
    """Mean bytes of the products' blobs, with patches."""
    guard_avif: float
    """Bytes beside the AVIF of equal SSIMULACRA2, median of the products; above 1 AVIF wins."""
    first_decode: float
    """Seconds until a web process has imported torch and decoded once."""
    efforts: dict[int, float] = field(default_factory=dict)
    """Times of effort 0 that an encode takes, without a guard."""

    def at_once(self, large: bool = True) -> list[dict[str, Any]]:
        """Compressions at effort 0 with the guard."""
        rows = [r for r in self.pictures["compression"] if r["guard"] and r["effort"] == 0]
        return [*rows, *(r for r in self.pictures["large"] if r.get("guard"))] if large else rows

    def line(self) -> tuple[float, float]:
        """Core seconds of a compression at effort 0 with the guard: (of each, of a megapixel)."""
        rows = self.at_once()
        slope, start = np.polyfit(
            [r["pixels"] / 1e6 for r in rows], [r["seconds"] for r in rows], 1
        )
        return max(0.0, float(start)), float(slope)

    def networks(self, megapixels: float) -> float:
        """Of these the part of encoder and calibration, which a GPU could take."""
        rows = [r for r in self.pictures["compression"] if not r["guard"]]
        rows += [r for r in self.pictures["large"] if r.get("guard") is False]
        rates = [r["seconds"] / (r["pixels"] / 1e6) for r in rows]
        return float(statistics.median(rates)) * megapixels

    def refinement(self) -> dict[int, float]:
        """Core seconds of a megapixel that an effort adds to effort 0."""
        rows = [r for r in self.pictures["compression"] if r["guard"]]
        plain = {(r["picture"], r["pixels"]): r["seconds"] for r in rows if r["effort"] == 0}
        added: dict[int, list[float]] = {0: [0.0]}
        for row in rows:
            if row["effort"]:
                more = row["seconds"] - plain[row["picture"], row["pixels"]]
                added.setdefault(row["effort"], []).append(more / (row["pixels"] / 1e6))
        return {effort: statistics.mean(values) for effort, values in sorted(added.items())}

    def compression(self, megapixels: float, effort: int = 0) -> float:
        """Core seconds."""
        start, slope = self.line()
        return start + (slope + self.refinement()[effort]) * megapixels

    def spread(self) -> float:
        """Standard deviation of a compression's time over its mean, at like sizes."""
        start, slope = self.line()
        ratios = [
            r["seconds"] / (start + slope * r["pixels"] / 1e6) for r in self.at_once(large=False)
        ]
        return float(statistics.stdev(ratios) / statistics.mean(ratios))

    def rendition_bytes(self, column: str, width: float) -> float:
        """Mean of the photographs at 640 pixels, by the power of the width that 320 and 640 show.

        Beyond 640 pixels this is an extrapolation.
        """
        small, middle = (self._mean(column, at) for at in (320, 640))
        return float(middle * (width / 640) ** math.log2(middle / small))

    def _mean(self, column: str, width: int) -> float:
        return float(
            statistics.mean(r[column] for r in self.pictures["renditions"] if r["width"] == width)
        )

    def miss(self, megapixels: float, width: float) -> float:
        """Core seconds of a rendition of latents that is not there, from blob to AVIF.

        Between a megapixel and twelve by a straight line; by width as of the large photograph's.
        """
        large = [r for r in self.pictures["large"] if "width" in r]
        of_large = float(
            np.interp(
                width, [r["width"] for r in large], [r["decode"] + r["encode"] for r in large]
            )
        )
        rows = [
            r for r in self.pictures["renditions"] if r["width"] == 640 and r["decode"] > 0.1
        ]  # What the guard has turned into AVIF decodes in no time.
        small_pixels = statistics.mean(self._pixels(r) for r in rows) / 1e6
        small = statistics.mean(r["decode"] for r in rows) + self.avif_seconds(width)
        share = (megapixels - small_pixels) / (12 - small_pixels)
        return max(0.05, float(small + share * (of_large - small)))

    def _pixels(self, row: dict[str, Any]) -> float:
        full = next(
            r
            for r in self.pictures["renditions"]
            if r["picture"] == row["picture"] and r["width"] == 0
        )
        return float(full["pixels"])

    def avif_seconds(self, width: float) -> float:
        """Core seconds to encode a rendition of a photograph four wide and three high."""
        rates = [r["avif_seconds"] / (r["pixels"] / 1e6) for r in self.pictures["renditions"]]
        return float(statistics.median(rates)) * width * width * 3 / 4 / 1e6

    def peer_miss(self, megapixels: float, width: float) -> float:
        """The same from a JPEG: the median image app's, and AVIF's time in place of JPEG's."""
        peers = [
            one["miss"]
            for name, one in self.delivery.items()
            if name not in ("django-latentimg", "served")
        ]
        one, twelve = (statistics.median(p[key] for p in peers) for key in ("1", "12"))
        return float(np.interp(megapixels, [1, 12], [one, twelve])) + self.avif_seconds(width)

    def equal_lpips(self) -> float:
        """Bytes of AVIF over those of the blob at equal LPIPS, the geometric mean of latents."""
        rows = [r for r in self.pictures["renditions"] if r["width"] == 0 and r["decode"] > 0.1]
        return math.exp(statistics.mean(math.log(r["avif_equal_lpips"] / r["blob"]) for r in rows))

    def equal_ssimulacra2(self) -> float:
        """The same at equal SSIMULACRA2, of this plan's photographs; ``guard_avif`` has more."""
        rows = [r for r in self.pictures["renditions"] if r["width"] == 0 and r["decode"] > 0.1]
        return math.exp(
            statistics.mean(math.log(r["avif_equal_ssimulacra2"] / r["blob"]) for r in rows)
        )

    def statements(self, occasion: str) -> dict[str, int]:
        """Reads, writes and commits of SQL; S3's GET, and PUT with LIST."""
        asked: dict[str, int] = self.database["asked"][occasion]
        kinds = {
            "reads": ("SELECT", "DECLARE"),
            "writes": ("INSERT", "UPDATE", "DELETE"),
            "commits": ("COMMIT",),
            "gets": ("GetObject", "HeadObject"),
            "puts": ("PutObject", "ListObjects", "ListObjectsV2"),
            "deletes": ("DeleteObject", "DeleteObjects"),
        }
        return {kind: sum(asked.get(n, 0) for n in names) for kind, names in kinds.items()}

    def row_bytes(self, table: str) -> dict[str, float]:
        return dict(self.database["bytes"][table])


@cache
def measured() -> Measured:
    load = RESULTS / "load.json"
    with (RESULTS / "guard.csv").open(newline="") as stored:
        blobs = [
            int(r["bytes"])
            for r in csv.DictReader(stored)
            if r["set"] == "products" and r["variant"] == "patches auto"
        ]
    efforts = {
        int(row[0]): float(row[6].split()[0])
        for row in table("effort.md", "effort")
        if row[0].isdigit()
    }
    return Measured(
        pictures=json.loads((RESULTS / "capacity_pictures.json").read_text()),
        database=json.loads((RESULTS / "capacity_database.json").read_text()),
        delivery=json.loads((RESULTS / "delivery.json").read_text()),
        load=json.loads(load.read_text()) if load.exists() else None,
        guard_blob=statistics.mean(blobs),
        guard_avif=next(
            float(row[1]) for row in table("guard.md", "set | median") if row[0] == "products"
        ),
        first_decode=next(float(r[1]) for r in table("speed.md", "engine") if r[0] == "torch"),
        efforts=efforts,
    )


def table(name: str, head: str) -> list[list[str]]:
    """Cells of the rows of a Markdown table whose head begins so."""
    rows, inside = [], False
    for line in (RESULTS / name).read_text().splitlines():
        if line.startswith(f"| {head}"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("| ---"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def photographs(known: Measured, assumed: Assumed) -> list[Photograph]:
    """A shop's, as measured, and a telephone's, for which there was none to measure."""
    pixels = next(r["mean"] for r in known.pictures["megapixels"] if r["set"] == "products")
    rate = known.guard_blob / pixels
    upscaled = next(r["bytes"] for r in known.pictures["large"] if r.get("guard"))
    low = float(upscaled) * assumed.telephone_megapixels / 12
    high = rate * assumed.telephone_megapixels
    latents = [
        r["bytes"]
        for r in known.pictures["compression"]
        if r["set"] == "products" and not r["guard"]
    ]
    return [
        Photograph(
            "shop",
            pixels,
            known.delivery["django-latentimg"]["seen"]["source"],
            known.guard_blob,
            (statistics.mean(latents), known.guard_blob),
        ),
        Photograph(
            "telephone",
            assumed.telephone_megapixels,
            assumed.telephone_source,
            math.sqrt(low * high),
            (low, high),
        ),
    ]
