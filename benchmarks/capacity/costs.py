"""What is stored, asked for and paid: this package beside AVIF, at the same pages and visitors."""

from dataclasses import dataclass, replace

import numpy as np

from .inputs import DAY, GB, MONTH, WIDTHS, Assumed, Measured, Photograph
from .visits import Steady, classes, steady

HOURS = 24 * MONTH


@dataclass(frozen=True)
class Way:
    """To keep and to show photographs."""

    name: str
    sources: bool
    kept: str
    """``latents``, ``widths`` (AVIF in each), ``one`` (AVIF in place of the blob) or nothing."""
    shown: str
    """Column of ``Measured.rendition_bytes``: what browsers get."""
    effort: int = 0


WAYS = [
    Way("latents, sources kept", True, "latents", "bytes"),
    Way("latents, sources not kept", False, "latents", "bytes"),
    Way("AVIF 50 in every width, sources kept", True, "widths", "avif"),
    Way("AVIF 50 in every width, sources not kept", False, "widths", "avif"),
    Way("the same, of equal LPIPS", False, "widths", "avif_equal_lpips"),
    Way("the same, of equal SSIMULACRA2", False, "widths", "avif_equal_ssimulacra2"),
    Way("sources, AVIF 50 on demand", True, "", "avif"),
    Way("one AVIF of equal LPIPS, renditions on demand", False, "one lpips", "bytes"),
    Way("one AVIF of equal SSIMULACRA2, renditions on demand", False, "one ssimulacra2", "bytes"),
]


@dataclass(frozen=True)
class Bill:
    """``Stored`` bytes and files are of all photographs; money is of a month, but for ``once``."""

    stored: float
    cached: float
    files: float
    download: float
    """Bytes a month."""
    once: float
    """To compress what is there already, computing and requests."""
    storage: float
    requests: float
    computing: float
    egress: float

    @property
    def month(self) -> float:
        """Without what browsers download."""
        return self.storage + self.requests + self.computing

    @property
    def whole(self) -> float:
        return self.month + self.egress


def shares(photograph: Photograph, assumed: Assumed) -> np.ndarray:
    """Of the widths that there are: the largest takes those of all that are larger."""
    number = len(photograph.widths)
    given = list(assumed.width_shares)
    return np.array([*given[: number - 1], sum(given[number - 1 :])])


def day(
    known: Measured,
    assumed: Assumed,
    photograph: Photograph,
    way: Way,
    *,
    cdn: float | None = None,
    expiry: float | None = None,
) -> Steady:
    """``expiry``: days."""
    stored = way.kept == "widths"
    sizes, costs = [], []
    for width in photograph.widths:
        sizes.append(known.rendition_bytes(way.shown, width))
        if way.kept == "latents":
            costs.append(known.miss(photograph.megapixels, width))
        elif stored:
            costs.append(0.0)
        else:
            costs.append(known.peer_miss(photograph.megapixels, width))
    return steady(
        classes(
            assumed.photographs,
            assumed.zipf,
            requests(assumed),
            shares(photograph, assumed),
            np.array(sizes),
            np.array(costs),
        ),
        assumed.plan_cdn if cdn is None else cdn,
        0.0 if stored else DAY * (assumed.plan_expiry if expiry is None else expiry),
    )


def requests(assumed: Assumed) -> float:
    """That reach the CDN, a second in the mean."""
    return assumed.page_views_a_day * assumed.pictures_a_page * (1 - assumed.in_browser) / DAY


def core_seconds(known: Measured, photograph: Photograph, way: Way) -> float:
    """Of one photograph after its upload."""
    if way.kept == "latents":
        return known.compression(photograph.megapixels, way.effort)
    reading = known.peer_miss(photograph.megapixels, 0)
    if way.kept == "widths":
        return reading + sum(known.avif_seconds(width) for width in photograph.widths)
    if way.kept:
        # The quality has to be found: seven encodes, as the measurement took.
        return reading + 7 * known.avif_seconds(photograph.width)
    return 0.0


def stored_bytes(known: Measured, photograph: Photograph, way: Way) -> tuple[float, int]:
    """(bytes, files) of one photograph that stay."""
    total, files = (photograph.source, 1) if way.sources else (0.0, 0)
    if way.kept == "latents":
        return total + photograph.blob, files + 1
    if way.kept == "widths":
        sizes = [known.rendition_bytes(way.shown, width) for width in photograph.widths]
        return total + sum(sizes), files + len(sizes)
    if way.kept:
        ratio = known.equal_lpips() if "lpips" in way.kept else 1 / known.guard_avif
        return total + photograph.blob * ratio, files + 1
    return total, files


def bill(known: Measured, assumed: Assumed, photograph: Photograph, way: Way) -> Bill:
    stored, files = stored_bytes(known, photograph, way)
    seen = day(known, assumed, photograph, way)
    upload = known.statements("upload")
    compression = known.statements("compression" if way.sources else "compression, source not kept")
    if way.kept != "latents":  # Read it, write what becomes of it.
        compression = {"gets": int(bool(way.kept)), "puts": files - int(way.sources)}
    hit, miss = (known.statements(f"rendition that is {what}") for what in ("there", "missing"))
    if way.kept == "widths":  # The CDN asks the bucket.
        hit = miss = {"gets": 1, "puts": 0}

    def paid(gets: float, puts: float) -> float:
        return gets / 1000 * assumed.get_1000 + puts / 1000 * assumed.put_1000

    each = core_seconds(known, photograph, way)
    a_month = DAY * MONTH
    new = assumed.uploads_a_day * MONTH
    found = (seen.to_view - seen.decodes) * a_month if way.kept != "widths" else 0.0
    missing = seen.decodes * a_month
    files_month = paid(
        new * (upload["gets"] + compression["gets"]) + found * hit["gets"] + missing * miss["gets"],
        new * (upload["puts"] + compression["puts"]) + missing * miss["puts"],
    )
    # What decodes has to be there at the busiest hour.
    cores = seen.cores * (1 + assumed.swing)
    return Bill(
        stored=stored * assumed.photographs,
        cached=seen.cached_bytes if way.kept != "widths" else 0.0,
        files=files * assumed.photographs + (seen.cached if way.kept != "widths" else 0.0),
        download=seen.byte_rate * a_month,
        once=assumed.photographs
        * (each / 3600 * assumed.core_hour + paid(compression["gets"], compression["puts"])),
        storage=(stored * assumed.photographs + (seen.cached_bytes if way.kept != "widths" else 0))
        / GB
        * assumed.storage_gb_month,
        requests=files_month,
        computing=(new * each / 3600 + cores * HOURS) * assumed.core_hour,
        egress=seen.byte_rate * a_month / GB * assumed.egress_gb,
    )


def shrunk(photograph: Photograph) -> Photograph:
    """Scaled to the largest width before it is uploaded."""
    width = float(WIDTHS[-1])
    pixels = width * width * 3 / 4 / 1e6
    share = pixels / photograph.megapixels
    low, high = photograph.blob_range
    return replace(
        photograph,
        name=f"{photograph.name}, uploaded {WIDTHS[-1]} wide",
        megapixels=pixels,
        source=photograph.source * share,
        blob=photograph.blob * share,
        blob_range=(low * share, high * share),
    )


@dataclass(frozen=True)
class Gpu:
    speedup: float
    effort: int
    left: float
    """Share of a photograph's core seconds that stay on the cores."""
    rate: float
    """Photographs a second of a node."""
    per_1000: float
    cpu_per_1000: float


def gpus(known: Measured, assumed: Assumed, photograph: Photograph, effort: int) -> list[Gpu]:
    """The guard's encodes, its text and its faces stay on the cores beside the GPU."""
    whole = known.compression(photograph.megapixels, effort)
    networks = (
        known.networks(photograph.megapixels) + known.refinement()[effort] * photograph.megapixels
    )
    rest = max(0.0, whole - networks)
    node = assumed.gpu_hour + assumed.gpu_cores * assumed.core_hour
    found = []
    for speedup in assumed.gpu_speedup:
        rate = 1 / max(networks / speedup, rest / assumed.gpu_cores)
        found.append(
            Gpu(
                speedup,
                effort,
                rest / whole,
                rate,
                node / 3600 / rate * 1000,
                whole / 3600 * assumed.core_hour * 1000,
            )
        )
    return found
