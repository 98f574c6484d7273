"""The plan's figures: ``python -m benchmarks.capacity``.

Simulates a backlog, a day, storage, the database and the bill of a site with a hundred million
photographs, from what ``benchmarks/results`` says was measured and from what ``inputs.Assumed``
assumes. Writes ``benchmarks/results/capacity.json`` and ``capacity.md``, and the tables of
``docs/capacity.md``. Measures nothing: that do ``pictures.py`` and ``database.py``.
"""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import costs, visits, work
from .inputs import (
    DAY,
    GB,
    MONTH,
    RESULTS,
    Assumed,
    Measured,
    Photograph,
    measured,
    photographs,
)

DOCS = Path(__file__).parent.parent.parent / "docs" / "capacity.md"
CORES = {"shop": (100, 200, 500, 1000, 4000), "telephone": (400, 600, 1000, 4000, 10_000)}
"""Worker cores of the backlog's table."""
SIMULATED = 32
"""Workers; a site of more is simulated at that scale, where uploads wait a little longer."""
OUTAGES = 5, 15, 30, 60, 240
"""Minutes."""
YEARS = 5

Table = list[str]
Rows = list[list[Any]]


def main() -> None:
    known, assumed = measured(), Assumed()
    found = tables(known, assumed)
    text = "\n\n".join(f"## {name}\n\n" + "\n".join(lines) for name, lines in found.items())
    (RESULTS / "capacity.md").write_text(text + "\n")
    (RESULTS / "capacity.json").write_text(
        json.dumps({"assumed": asdict(assumed), "figures": figures(known, assumed)}, indent=1)
        + "\n"
    )
    DOCS.write_text(filled(DOCS.read_text(), found))
    print(text)


def filled(document: str, found: dict[str, Table]) -> str:
    """With each table between its marks."""
    for name, lines in found.items():
        mark = re.escape(f"<!-- {name} -->")
        block = f"<!-- {name} -->\n\n" + "\n".join(lines) + "\n\n<!-- end -->"
        before, after = re.split(rf"{mark}\n.*?<!-- end -->", document, maxsplit=1, flags=re.S)
        document = before + block + after
    return document


def tables(known: Measured, assumed: Assumed) -> dict[str, Table]:
    kinds = photographs(known, assumed)
    return {
        "summary": summary(known, assumed, kinds),
        "photographs": of_photographs(known, kinds),
        "assumptions": of_assumptions(assumed),
        "checks": checks(known),
        "backlog": backlog(known, assumed, kinds),
        "faults": faults(known, assumed, kinds[0]),
        "outages": outages(),
        "gpu": gpu(known, assumed, kinds),
        "day": day(known, assumed, kinds),
        "decoders": decoders(known, assumed, kinds),
        "storage": storage(known, assumed, kinds),
        "operations": operations(known),
        "buckets": buckets(known, assumed, kinds),
        "database": database(known, assumed, kinds),
        "plans": plans(known, assumed),
        "money": money(known, assumed, kinds),
        "sensitivity": sensitivity(known, assumed, kinds),
    }


def figures(known: Measured, assumed: Assumed) -> dict[str, Any]:
    """What the tables are made of and a test can do again quickly."""
    return {
        kind.name: {
            "photograph": asdict(kind),
            "core seconds": {e: known.compression(kind.megapixels, e) for e in known.refinement()},
            "bills": {
                way.name: asdict(costs.bill(known, assumed, kind, way)) for way in costs.WAYS
            },
        }
        for kind in photographs(known, assumed)
    }


def table(heads: str, rows: Rows) -> Table:
    columns = heads.split(", ")
    return [
        f"| {' | '.join(map(str, line))} |" for line in (columns, ["---"] * len(columns), *rows)
    ]


def summary(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    lines = []
    for kind in kinds:
        ways = {way.name: costs.bill(known, assumed, kind, way) for way in costs.WAYS}
        ours = ways["latents, sources not kept"]
        equal = ways["the same, of equal LPIPS"]
        near = ways["the same, of equal SSIMULACRA2"]
        usual = ways["AVIF 50 in every width, sources not kept"]
        kept, usual_kept = (
            ways["latents, sources kept"],
            ways["AVIF 50 in every width, sources kept"],
        )
        saved = (usual.stored - ours.stored) / GB
        price = ours.once / saved / 12 / YEARS
        lines += [
            f"- **{kind.name.capitalize()}, {kind.megapixels:.1f} megapixels.** Without sources, "
            f"latents store {tb(ours.stored)} TB for good, AVIF of quality 50 in every width "
            f"{tb(usual.stored)}, of equal LPIPS {tb(equal.stored)}, of equal SSIMULACRA2 "
            f"{tb(near.stored)}. With sources it is {tb(kept.stored)} beside "
            f"{tb(usual_kept.stored)} TB. Latents also need the renditions they were asked for "
            f"({tb(ours.cached)} TB).",
            f"  To compress them takes {known.compression(kind.megapixels):,.0f} core seconds each "
            f"at effort 0, {usd(ours.once)} USD in all, and AVIF in every width {usd(usual.once)}. "
            f"A month costs {usd(ours.month)} USD beside {usd(usual.month)}, without what browsers "
            f"download. The bytes saved beside AVIF 50 pay for the compression alone within "
            f"{YEARS} years if a gigabyte costs {price:.2f} USD a month; assumed is "
            f"{assumed.storage_gb_month}.",
            f"  Browsers download {tb(ours.download)} TB a month, and of AVIF 50 of the source, "
            f"which shows more, {tb(usual.download)}; of equal LPIPS {tb(equal.download)}, of "
            f"equal SSIMULACRA2 {tb(near.download)}.",
        ]
    return lines


def of_photographs(known: Measured, kinds: list[Photograph]) -> Table:
    def of(kind: Photograph, column: str) -> str:
        sizes = [known.rendition_bytes(column, width) for width in kind.widths]
        return f"{kb(sum(sizes))}"

    rows: Rows = [
        ["megapixels", *(f"{kind.megapixels:.2f}" for kind in kinds)],
        ["source, KB", *(kb(kind.source) for kind in kinds)],
        ["blob, KB", *(f"{kb(k.blob)} ({' to '.join(map(kb, k.blob_range))})" for k in kinds)],
        ["widths", *(", ".join(f"{w:.0f}" for w in kind.widths) for kind in kinds)],
        ["AVIF renditions of latents, all widths, KB", *(of(kind, "bytes") for kind in kinds)],
        ["AVIF 50 of the source, the same", *(of(kind, "avif") for kind in kinds)],
        ["of equal LPIPS", *(of(kind, "avif_equal_lpips") for kind in kinds)],
        ["of equal SSIMULACRA2", *(of(kind, "avif_equal_ssimulacra2") for kind in kinds)],
    ]
    for effort in known.refinement():
        rows.append(
            [
                f"core seconds to compress, effort {effort}",
                *(f"{known.compression(kind.megapixels, effort):,.0f}" for kind in kinds),
            ]
        )
    rows += [
        [
            "core seconds of AVIF in every width",
            *(f"{costs.core_seconds(known, kind, costs.WAYS[2]):.1f}" for kind in kinds),
        ],
        [
            "core seconds of a miss, by width",
            *(", ".join(f"{known.miss(k.megapixels, w):.1f}" for w in k.widths) for k in kinds),
        ],
        [
            "the same from a JPEG",
            *(
                ", ".join(f"{known.peer_miss(k.megapixels, w):.1f}" for w in k.widths)
                for k in kinds
            ),
        ],
    ]
    return table(f"a photograph, {', '.join(kind.name for kind in kinds)}", rows)


def of_assumptions(assumed: Assumed) -> Table:
    a = assumed
    return table(
        "assumed, value",
        [
            ["photographs", f"{a.photographs:,}"],
            [
                "a telephone's photograph",
                f"{a.telephone_megapixels:.0f} megapixels, {a.telephone_source / 1e6} MB",
            ],
            ["uploads a day", f"{a.uploads_a_day:,.0f}"],
            ["daily curve, of uploads and views", f"a sine, at most {1 + a.swing} of the mean"],
            ["attempts that storage or database spoil", f"{a.transient:.0%}"],
            ["a worker process dies", f"every {1 / a.deaths / DAY:.0f} days, {a.restart:.0f} s"],
            ["page views a day", f"{a.page_views_a_day:,.0f}"],
            [
                "pictures on a page; of these in the browser's cache",
                f"{a.pictures_a_page:.0f}; {a.in_browser:.0%}",
            ],
            ["popularity of pictures", f"Zipf, exponent {a.zipf}"],
            ["widths asked for", ", ".join(f"{share:.0%}" for share in a.width_shares)],
            ["format asked for", "AVIF always"],
            [
                "a CDN's cache; renditions expire after",
                f"{tb(a.plan_cdn)} TB; {a.plan_expiry} days",
            ],
            ["a gigabyte stored for a month", f"{a.storage_gb_month} USD"],
            ["1,000 PUT or LIST; 1,000 GET", f"{a.put_1000}; {a.get_1000} USD"],
            ["a core hour; an hour of a GPU", f"{a.core_hour}; {a.gpu_hour} USD"],
            ["a gigabyte from the CDN to browsers", f"{a.egress_gb} USD"],
            [
                "requests a second of a prefix of a bucket: GET; PUT",
                f"{a.prefix_gets:,.0f}; {a.prefix_puts:,.0f}",
            ],
            [
                "networks on a GPU, times one core",
                f"{', '.join(map(str, a.gpu_speedup))}: a range, **nobody has measured it**",
            ],
        ],
    )


def checks(known: Measured) -> Table:
    """Figures that other benchmarks have found as well."""
    plain, five = (
        next(
            r["seconds"]
            for r in known.pictures["compression"]
            if r["set"] == "products" and r["guard"] is guard and r["effort"] == effort
        )
        for guard, effort in ((False, 0), (True, 5))
    )
    guarded = next(
        r["seconds"]
        for r in known.pictures["compression"]
        if r["set"] == "products" and r["guard"] and r["effort"] == 0
    )
    large = known.pictures["large"]
    twelve = known.delivery["django-latentimg"]["miss"]["12"]
    cpu = float(
        np.interp(
            400,
            [r["width"] for r in large if "width" in r],
            [r["decode"] + r["encode"] for r in large if "width" in r],
        )
    )
    rows: Rows = [
        [
            "effort 5 over effort 0, without the guard",
            f"{(five - guarded + plain) / plain:.1f} ×",
            f"{known.efforts[5]} × (effort.md)",
        ],
        [
            "a miss of 400 pixels, 12 megapixels",
            f"{cpu:.1f} core s",
            f"{twelve:.2f} s on two cores (delivery.json)",
        ],
        [
            "bytes of AVIF over those of latents, equal SSIMULACRA2",
            f"{known.equal_ssimulacra2():.2f}",
            f"{1 / known.guard_avif:.2f} (guard.md)",
        ],
        ["the same at equal LPIPS", f"{known.equal_lpips():.2f}", "none"],
    ]
    if known.load:
        load = known.load
        pixels = load["short_side"] ** 2 * 1.4 / 1e6
        rows += [
            [
                f"compression of {load['short_side']} pixels' short side, effort {load['effort']}",
                f"{known.compression(pixels, load['effort']):.1f} core s",
                f"{load['seconds_per_photograph'] * load['cores'] / load['workers']:.1f} "
                "core s at most (load.json)",
            ],
            [
                "memory of a worker process, at most",
                "not measured here",
                f"{load['worker_rss_mib']['max']:,.0f} MiB with such small ones (load.json)",
            ],
            [
                "an upload's request, p95",
                "not measured here",
                f"{load['upload_ms']['p95']:.0f} ms with the workers on the same cores (load.json)",
            ],
        ]
    else:
        rows.append(["a load test", "**assumption:** none", "load.json is not there"])
    return table("figure, this plan's, another benchmark's", rows)


def simulated(
    known: Measured, assumed: Assumed, kind: Photograph, cores: int, fault: work.Faults
) -> work.Told:
    """A day with more backlog than can be done."""
    scale = max(1.0, cores / SIMULATED)
    return work.simulate(
        work.uploads(assumed.uploads_a_day / scale, assumed.swing, DAY),
        known.compression(kind.megapixels),
        round(cores / scale),
        spread=known.spread(),
        backlog=10**9,
        faults=fault,
        until=DAY,
    )


def backlog(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    rows: Rows = []
    fault = work.Faults(assumed.transient, assumed.deaths, assumed.restart)
    for kind in kinds:
        seconds = known.compression(kind.megapixels)
        for cores in CORES[kind.name]:
            told = simulated(known, assumed, kind, cores, fault)
            good = told.useful / told.busy
            flow = work.flow(
                assumed.photographs, cores * good, seconds, assumed.uploads_a_day, assumed.swing
            )
            p50, p95 = np.percentile(told.waits, [50, 95])
            rows.append(
                [
                    kind.name,
                    f"{cores:,}",
                    f"{flow.days:,.0f}" if math.isfinite(flow.days) else "never",
                    f"{p50:,.0f}",
                    f"{p95:,.0f}",
                    f"{max(flow.deepest, told.deepest * cores / SIMULATED):,.0f}",
                    f"{(told.done - len(told.waits)) * max(1.0, cores / SIMULATED):,.0f}",
                    f"{1 - good:.1%}",
                    f"{2 * cores:,}",
                ]
            )
    return table(
        "photographs, worker cores, days, upload to blob: p50 s, p95 s, uploads waiting at most, "
        "backlog done a day, work lost to faults, `--in-flight`",
        rows,
    )


def faults(known: Measured, assumed: Assumed, kind: Photograph) -> Table:
    cores = CORES[kind.name][2]
    rows: Rows = []
    usual = work.Faults(assumed.transient, assumed.deaths, assumed.restart)
    for name, fault in {
        "none": work.Faults(),
        "as assumed": usual,
        "a tenth of all attempts fails": replace(usual, transient=0.1),
        "half of all attempts fails": replace(usual, transient=0.5),
        "every worker dies once an hour (spot machines)": replace(usual, deaths=1 / 3600),
        "every worker dies once in five minutes": replace(usual, deaths=1 / 300),
    }.items():
        told = simulated(known, assumed, kind, cores, fault)
        p50, p95 = np.percentile(told.waits, [50, 95])
        over = told.done + told.quarantined
        rows.append(
            [
                name,
                f"{p50:,.0f}",
                f"{p95:,.0f}",
                f"{1 - told.useful / told.busy:.1%}",
                f"{told.quarantined / over:.2%}",
            ]
        )
    return table(
        f"{kind.name}'s photographs on {cores:,} cores, upload to blob: p50 s, p95 s, "
        "work lost, quarantined",
        rows,
    )


def outages() -> Table:
    return table(
        "storage or database away for, quarantined of what was first tried meanwhile",
        [[f"{m} min", f"{work.quarantined(60 * m):.0%}"] for m in OUTAGES],
    )


def gpu(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    rows: Rows = []
    for kind in kinds:
        for effort in (0, 5):
            for one in costs.gpus(known, assumed, kind, effort):
                rows.append(
                    [
                        kind.name,
                        effort,
                        f"{one.speedup:.0f} ×",
                        f"{one.left:.0%}",
                        f"{one.rate:.2f}",
                        f"{assumed.photographs / MONTH / DAY / one.rate:,.0f}",
                        f"{one.per_1000:.2f}",
                        f"{one.cpu_per_1000:.2f}",
                    ]
                )
    return table(
        "photographs, effort, GPU (assumed), work that stays on cores, photographs a second of a "
        f"node with {assumed.gpu_cores} cores, nodes for all in 30 days, USD per 1000, "
        "USD per 1000 on cores",
        rows,
    )


def day(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    rows: Rows = []
    for kind in kinds:
        for cdn in assumed.cdn_bytes:
            for expiry in assumed.expiry_days:
                seen = costs.day(known, assumed, kind, costs.WAYS[1], cdn=cdn, expiry=expiry)
                rows.append(
                    [
                        kind.name,
                        tb(cdn),
                        f"{expiry:.0f}",
                        f"{seen.hits:.1%}",
                        f"{seen.to_view:,.0f}",
                        f"{seen.decodes:,.1f}",
                        f"{seen.cores:,.0f}",
                        f"{seen.cores * (1 + assumed.swing):,.0f}",
                        f"{seen.cached / 1e6:,.0f}",
                        tb(seen.cached_bytes),
                    ]
                )
    return table(
        "photographs, CDN's cache TB, renditions expire after days, CDN hits, requests/s that "
        "reach the view, decodes/s, cores for these, at the peak, millions of renditions kept, TB",
        rows,
    )


def decoders(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    """What a visitor waits who is the first."""
    rows: Rows = []
    for kind in kinds:
        seen = costs.day(known, assumed, kind, costs.WAYS[1])
        rate = seen.decodes * (1 + assumed.swing)
        for load in (0.5, 0.8, 0.95):
            cores = max(1, math.ceil(rate * seen.average / load))
            arrivals = work.uploads(rate * DAY, 0.0, 3600)
            waits = work.simulate(arrivals, seen.average, cores, spread=known.spread()).waits
            p50, p95 = np.percentile(waits, [50, 95])
            rows.append(
                [kind.name, f"{rate:.1f}", cores, f"{load:.0%}", f"{p50:.1f}", f"{p95:.1f}"]
            )
    hits = visits.simulated_hits(20_000, assumed.zipf, 2_000, 400_000)
    one = np.array([1.0])
    about = visits.steady(visits.classes(20_000, assumed.zipf, 1.0, one, one, one), 2_000, 0)
    return [
        *table("photographs, decodes/s at the peak, cores, load, p50 s, p95 s", rows),
        "",
        "The hits of a cache are computed by Che's approximation. Beside it a cache of 2,000 of "
        f"20,000 pictures, simulated request by request: {hits:.3f}, by the approximation "
        f"{about.hits:.3f}.",
    ]


def storage(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    rows: Rows = []
    for kind in kinds:
        for way in costs.WAYS:
            bill = costs.bill(known, assumed, kind, way)
            rows.append(
                [
                    kind.name,
                    way.name,
                    tb(bill.stored),
                    tb(bill.cached) if bill.cached else "",
                    tb(bill.stored + bill.cached),
                    f"{bill.files / 1e6:,.0f}",
                    tb(bill.download),
                ]
            )
    return table(
        "photographs, way, TB for good, TB of renditions that were asked for, together, "
        "millions of files, TB downloaded a month",
        rows,
    )


def operations(known: Measured) -> Table:
    rows: Rows = []
    for occasion in known.database["asked"]:
        asked = known.statements(occasion)
        rows.append([occasion, *(asked[k] for k in asked)])
    return table("occasion, SQL reads, writes, commits, GET and HEAD, PUT and LIST, DELETE", rows)


def buckets(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    """Requests at the busiest moment, and how many prefixes take them."""
    hit, miss, compression = (
        known.statements(occasion)
        for occasion in ("rendition that is there", "rendition that is missing", "compression")
    )
    rows: Rows = []
    for kind in kinds:
        cores = CORES[kind.name][-1]
        seen = costs.day(known, assumed, kind, costs.WAYS[1])
        peak = 1 + assumed.swing
        made = seen.decodes * peak
        rate = cores / known.compression(kind.megapixels)
        cases = {
            "renditions": (
                (seen.to_view * peak - made) * hit["gets"] + made * miss["gets"],
                made * miss["puts"],
            ),
            f"sources and blobs, by a backlog on {cores:,} cores": (
                rate * compression["gets"],
                rate * compression["puts"],
            ),
        }
        for name, (gets, puts) in cases.items():
            prefixes = max(
                1, math.ceil(max(gets / assumed.prefix_gets, puts / assumed.prefix_puts))
            )
            rows.append([kind.name, name, f"{gets:,.0f}", f"{puts:,.0f}", prefixes])
    return table(
        "photographs, bucket, GET and HEAD a second, PUT and LIST a second, prefixes at least", rows
    )


def database(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    upload, compression = (known.statements(o) for o in ("upload", "compression"))
    per_upload = upload["reads"] + upload["writes"] + compression["reads"] + compression["writes"]
    shown = assumed.page_views_a_day / DAY * (1 + assumed.swing)
    uploads = assumed.uploads_a_day / DAY * (1 + assumed.swing)
    rows: Rows = [
        ["statements of uploads, at the peak", f"{uploads * per_upload:,.0f} a second"],
        ["statements of pages, one each, at the peak", f"{shown:,.0f} a second"],
    ]
    for kind in kinds:
        cores = CORES[kind.name][-1]
        rate = cores / known.compression(kind.megapixels)
        statements = rate * (compression["reads"] + compression["writes"] + upload["writes"])
        rows.append(
            [
                f"of a backlog on {cores:,} cores, {kind.name}",
                f"{statements:,.0f} a second, {rate:,.0f} photographs",
            ]
        )
    ledger = known.row_bytes("django_latentimg_compression")
    product = known.row_bytes("testapp_product")
    entries = assumed.photographs + assumed.uploads_a_day * 365
    pruned = 10_000 * DAY / 300
    lookup = known.database["plans"]["is a name shown, before its file is deleted"]["without"]
    growth = assumed.photographs / known.database["rows"]
    files = 2 * assumed.photographs
    rows += [
        [
            "`latentimg_gc`: reads a column with as many rows, once, and keeps hashes of names",
            f"{known.database['gc']['seconds'] * growth / 60:,.0f} minutes, "
            f"{files * 8 / GB:,.1f} GB",
        ],
        ["then lists sources and blobs", f"{files / 1000:,.0f} requests"],
        [
            f"and before every {known.database['gc']['deletions']} deletions looks at the whole "
            "table, without an index of names",
            f"{lookup['ms'] / 1000 * growth:,.0f} s",
        ],
        ["entries of the ledger after a year", f"{entries / 1e6:,.0f} million"],
        ["their rows", f"{ledger['row'] * entries / GB:,.0f} GB"],
        *(
            [f"their index `{name}`", f"{size * entries / GB:,.0f} GB"]
            for name, size in ledger.items()
            if name != "row"
        ),
        ["rows with a photograph", f"{product['row'] * assumed.photographs / GB:,.0f} GB"],
        [
            "their index of names",
            f"{product['photo_name'] * assumed.photographs / GB:,.0f} GB",
        ],
        [
            "their index of what is pending, at the beginning of a backlog and at its end",
            f"{product['testapp_product_pkey'] * assumed.photographs / GB:,.1f} and "
            f"{product['photo_pending'] * assumed.photographs / GB:,.2f} GB",
        ],
        [
            "entries that a sweep every 5 minutes forgets a day, at most",
            f"{pruned / 1e6:.2f} million",
        ],
        [
            "dead rows of a compression: ledger, photograph",
            f"{compression['writes'] - 2}, 1",
        ],
    ]
    return table("of the database, figure", rows)


def plans(known: Measured, assumed: Assumed) -> Table:
    rows: Rows = []
    factor = assumed.photographs / known.database["rows"]
    for name, found in known.database["plans"].items():
        cells = []
        for stage in ("without", "with"):
            slow = any(scan.startswith("Seq Scan testapp") for scan in found[stage]["scans"])
            small = any(scan.startswith("Seq Scan") for scan in found[stage]["scans"])
            cells += [
                "whole table" if slow else "a small table" if small else "index",
                f"{found[stage]['ms'] * factor / 1000:,.0f} s" if slow else "milliseconds",
            ]
        rows.append([name, *cells])
    return table(
        "question, without more indexes, at this size, with both, at this size",
        rows,
    )


def money(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    rows: Rows = []
    thousands = assumed.photographs / 1000
    for kind in kinds:
        for way in costs.WAYS:
            bill = costs.bill(known, assumed, kind, way)
            rows.append(
                [
                    kind.name,
                    way.name,
                    usd(bill.once),
                    usd(bill.storage),
                    usd(bill.requests),
                    usd(bill.computing),
                    usd(bill.month),
                    f"{bill.month / thousands:.4f}",
                    usd(bill.egress),
                    usd(bill.whole),
                ]
            )
    return table(
        "photographs, way, USD once, USD a month: storage, requests, computing, together, "
        "per 1000 photographs, download, with download",
        rows,
    )


def sensitivity(known: Measured, assumed: Assumed, kinds: list[Photograph]) -> Table:
    rows: Rows = []
    usual = costs.WAYS[1]
    for kind in kinds:
        low, high = (replace(kind, blob=size) for size in kind.blob_range)
        cases: list[tuple[str, Assumed, Photograph, costs.Way]] = [
            ("as planned: effort 0, sources not kept", assumed, kind, usual),
            ("sources kept", assumed, kind, costs.WAYS[0]),
            ("effort 1", assumed, kind, replace(usual, effort=1)),
            ("effort 5, the default", assumed, kind, replace(usual, effort=5)),
            ("smallest blobs of the range", assumed, low, usual),
            ("largest blobs of the range", assumed, high, usual),
            ("renditions expire after 30 days", replace(assumed, plan_expiry=30), kind, usual),
            ("a CDN of 0.1 TB", replace(assumed, plan_cdn=0.1e12), kind, usual),
            ("a core hour at 0.01 USD (spot)", replace(assumed, core_hour=0.01), kind, usual),
            ("a gigabyte stored at 0.10 USD", replace(assumed, storage_gb_month=0.1), kind, usual),
            ("popularity less uneven, Zipf 0.7", replace(assumed, zipf=0.7), kind, usual),
            ("ten times the uploads", replace(assumed, uploads_a_day=1e6), kind, usual),
        ]
        if kind.megapixels > 3:
            cases.append(("scaled to 1920 pixels before", assumed, costs.shrunk(kind), usual))
        for name, given, what, way in cases:
            bill = costs.bill(known, given, what, way)
            rival = costs.WAYS[2] if way.sources else costs.WAYS[3]
            beside = costs.bill(known, given, what, rival)
            rows.append(
                [
                    kind.name,
                    name,
                    tb(bill.stored),
                    tb(beside.stored),
                    usd(bill.once),
                    usd(beside.once),
                    usd(bill.month),
                    usd(beside.month),
                ]
            )
    return table(
        "photographs, what if, TB for good, AVIF 50 in every width, USD once, AVIF, "
        "USD a month without download, AVIF",
        rows,
    )


def tb(size: float) -> str:
    return f"{size / 1e12:,.1f}"


def kb(size: float) -> str:
    return f"{size / 1000:,.0f}"


def usd(amount: float) -> str:
    return f"{amount:,.0f}"


if __name__ == "__main__":
    main()
