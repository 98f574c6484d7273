"""What the shared latent space costs: ``python -m training spaces``; goes on where it stopped.

The bundled networks and the prior are trained on in several latent spaces: in Stable Diffusion's,
held to it by the teacher; and in free ones, of as many channels or more, at 1/8 or at 1/16 of the
picture's resolution. Each begins as what the bundled model computes, so that the first of them has
no head start: more channels are added without effect, and those at 1/16 are the same numbers in
another order. All train in turns, on the same crops, with the same loss but for the teacher's part
in it, until each has had its CPU seconds. Writes ``SPACES.md``.
"""

import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.bjontegaard import delta_rate
from benchmarks.metrics import Lpips, centre_crop, psnr, ssimulacra2
from django_latentimg.codec import prior
from django_latentimg.codec.distortion import pixel_loss, structure_loss, texture_loss
from django_latentimg.codec.lite import HINTS, LiteDecoder, LiteEncoder, conv, load_networks
from django_latentimg.codec.models import LITE_FOLDER, SD1
from django_latentimg.codec.rate import Expectation, Expecter

from .candidates import Candidate, zeroed
from .data import to_float
from .device import CPU, mixed_precision, place
from .prior import HIDDEN, PriorNetwork
from .search import (
    SEED,
    Material,
    Row,
    Search,
    fastest,
    logger,
    photographs,
    read_log,
    take_turns,
)
from .search_report import last_rows, table
from .taesd import Taesd
from .train import Config, log_error, through_quantiser

TARGET = Path(__file__).parent / "SPACES.md"
MEASURES = {"psnr": "PSNR", "ssimulacra2": "SSIMULACRA2", "lpips": "LPIPS"}
LOW, HIGH = 0.04, 0.2
"""Bits a pixel that curves are compared between."""

SECONDS, LONGER, FURTHER = 420.0, 2400.0, 3000.0
"""Of CPU time."""
LEARNING_RATE = 3e-4
PRIOR_TIMES = 8.0
"""The prior's learning rate, in those of the networks."""
PRIOR_FIRST = 60.0
"""Seconds before those in which the priors at 1/16, which begin from nothing, learn alone."""
RISE = 30.0
"""Seconds in which the learning rate rises."""
FALL = 0.5
"""Share of the seconds after which it falls to zero."""
PRICE = 0.3
"""Of a bit for each of the four numbers that Stable Diffusion's space has for 8 × 8 pixels, times
the quantiser's step: what a bit buys on the curve of the bundled model. Rises from nothing, until
the priors of the new spaces know them."""
PRICE_RISE = 0.15
"""Share of the seconds."""
WEIGHTS = Config.read(Path(__file__).parent / "faithful.toml")
"""Of the terms of the loss, with the teacher's share. What the teacher makes of our latents is
judged without LPIPS here."""
CLEAN_SHARE = 0.2

STEPS = (0.25, 0.5, 0.7, 1.0, 1.52)
"""Of the quantiser, measured."""

CHANNELS_STEP = 0.5
"""Of the quantiser, at which channels are looked at."""


class Space(NamedTuple):
    channels: int
    """At 1/8, or what four of them are at 1/16."""
    sixteenth: bool = False
    compatible: bool = False
    seconds: float = SECONDS
    after: str | None = None
    """Of ``SPACES``, with whose trained weights it begins; else with the bundled ones."""


CONTROL, LONGER_CONTROL = "Stable Diffusion's", "Stable Diffusion's, longer"

SPACES = {
    CONTROL: Space(4, compatible=True),
    "4 at 1/8": Space(4),
    "8 at 1/8": Space(8),
    "12 at 1/8": Space(12),
    "16 at 1/16": Space(4, sixteenth=True, seconds=PRIOR_FIRST + SECONDS),
    "32 at 1/16": Space(8, sixteenth=True, seconds=PRIOR_FIRST + SECONDS),
    "48 at 1/16": Space(12, sixteenth=True, seconds=PRIOR_FIRST + SECONDS),
    "4 at 1/8, longer": Space(4, seconds=LONGER),
    "8 at 1/8, longer": Space(8, seconds=LONGER),
    LONGER_CONTROL: Space(4, compatible=True, seconds=LONGER),
    "4 at 1/8, further": Space(4, seconds=FURTHER, after="4 at 1/8, longer"),
}

BUNDLED = "bundled, as all begin"


class Model(nn.Module):
    """Encoder, decoder and prior of one space, at first what the bundled ones compute."""

    def __init__(self, space: Space, pictures: Tensor | None = None) -> None:
        """``pictures``, float (N, 3, H, W) in [-1, 1], tell how large the features are."""
        super().__init__()
        self.space, channels = space, space.channels
        bundled = load_networks(LITE_FOLDER)
        encoder, decoder = bundled["encoder"], bundled["decoder"]
        assert isinstance(encoder, LiteEncoder)
        assert isinstance(decoder, LiteDecoder)
        self.encoder, self.decoder = encoder, decoder
        for name in ("small_trunk", "eighth_head", "quarter_head", "half_head"):
            delattr(self.decoder, name)
        self.encoder.layers[-1] = wider_exit(encoder.layers[-1], channels)
        if pictures is not None:
            self.give_spread(pictures)
        self.decoder.enter = wider_entrance(decoder.enter, channels)
        planes = channels * 4 if space.sixteenth else channels
        if space.sixteenth:
            self.down, self.up = mixing(planes), mixing(planes)
        self.prior = PriorNetwork(HIDDEN, planes)
        if not space.sixteenth:
            take_bundled_prior(self.prior)

    @torch.no_grad()
    def give_spread(self, pictures: Tensor) -> None:
        """Additional channels begin with mean 0 and spread 1: else rounding leaves nothing of them,
        and they are given up before they are read."""
        exit_layer = self.encoder.layers[-1]
        assert isinstance(exit_layer, nn.Conv2d)
        assert exit_layer.bias is not None
        latents = self.encoder(pictures)
        means, spreads = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        added = slice(HINTS // 2, None)
        exit_layer.weight[added] /= spreads[added].view(-1, 1, 1, 1)
        exit_layer.bias[added] = (exit_layer.bias[added] - means[added]) / spreads[added]

    def encode(self, pixels: Tensor) -> Tensor:
        """Float (N, 3, H, W) in [-1, 1] -> (N, C, H/8, W/8) or (N, 4C, H/16, W/16)."""
        latents: Tensor = self.encoder(pixels)
        if self.space.sixteenth:
            latents = F.pixel_unshuffle(latents, 2)
            latents = latents + self.down(latents)
        return latents

    def decode(self, latents: Tensor, steps: Tensor, hints: Tensor) -> Tensor:
        """To float (N, 3, H, W); ``hints`` are those of the prior, or zeros."""
        if self.space.sixteenth:
            latents = latents + self.up(latents)
            latents, hints = F.pixel_shuffle(latents, 2), F.pixel_shuffle(hints, 2)
        pictures: dict[int, Tensor] = self.decoder(latents, steps, hints)
        return pictures[1]


def mixing(planes: int) -> nn.Sequential:
    """What is added at 1/16; before training it is nothing."""
    return nn.Sequential(conv(planes, 2 * planes), nn.ReLU(), zeroed(conv(2 * planes, planes)))


def wider_exit(layer: nn.Module, channels: int) -> nn.Conv2d:
    """The encoder's last layer, with more channels behind the same."""
    assert isinstance(layer, nn.Conv2d)
    wider = conv(layer.in_channels, channels)
    with torch.no_grad():
        for new, old in zip(wider.parameters(), layer.parameters(), strict=True):
            new[: len(old)] = old
    return wider


def wider_entrance(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The decoder's first layer, which does not heed the additional channels yet.

    Its inputs are the latents, the step, and of each latent where it was expected and the spread.
    """
    wider = conv(3 * channels + 1, layer.out_channels)
    own = HINTS // 2
    old_starts, new_starts = (
        (0, own, own + 1, 2 * own + 1),
        (0, channels, channels + 1, 2 * channels + 1),
    )
    with torch.no_grad():
        wider.weight.zero_()
        for old, new, count in zip(old_starts, new_starts, (own, 1, own, own), strict=True):
            wider.weight[:, new : new + count] = layer.weight[:, old : old + count]
        assert layer.bias is not None
        assert wider.bias is not None
        wider.bias.copy_(layer.bias)
    return wider


def take_bundled_prior(network: PriorNetwork) -> None:
    """Its first four channels are priced as the bundled prior does."""
    bundled, rows = Expecter(SD1, CPU), HIDDEN + 2
    inputs = prior.CHANNELS * len(prior.NEIGHBOURS)
    with torch.no_grad():
        of_first = slice(0, prior.CHANNELS * rows)
        network.context[of_first] = 0
        network.context[of_first, :inputs] = bundled.context
        network.bias[of_first] = bundled.bias
        network.step[of_first] = bundled.step
        first = slice(0, prior.CHANNELS)
        network.known[first] = 0
        network.known[first, :, : prior.CHANNELS - 1] = bundled.known
        network.hidden[first] = bundled.hidden
        network.hidden_bias[first] = bundled.hidden_bias
        network.output[first] = bundled.output


class SpaceSearch(Search):
    """One space's training."""

    def __init__(self, space: Space, material: Material, teacher: Taesd, folder: Path) -> None:
        self.space, self.teacher = space, teacher
        build = (
            partial(load_trained, space.after, folder.parent)
            if space.after
            else partial(Model, space, material.crops.at(0)[0])
        )
        candidate = Candidate("", "", build, SEED)
        self.first = PRIOR_FIRST if space.sixteenth else 0.0
        super().__init__(candidate, material, folder, space.seconds)

    def groups(self, networks: nn.Module) -> list[Row]:
        assert isinstance(networks, Model)
        of_prior = list(networks.prior.parameters())
        known = set(of_prior)
        others = [each for each in networks.parameters() if each not in known]
        return [{"params": others, "times": 1.0}, {"params": of_prior, "times": PRIOR_TIMES}]

    @property
    def passed(self) -> float:
        """Share of the seconds in which all learn; below 0 before them."""
        return (self.seconds - self.first) / (self.limit - self.first)

    def rate(self) -> float:
        if self.passed < 0:
            return LEARNING_RATE
        rise = 0.02 + (self.seconds - self.first) / RISE
        return LEARNING_RATE * max(0.0, min(1.0, rise, (1 - self.passed) / (1 - FALL)))

    def price(self) -> float:
        if self.space.after:
            return PRICE  # Its prior knows the space.
        return PRICE * min(1.0, 0.001 + self.passed / PRICE_RISE)

    def losses(self) -> dict[str, Tensor]:
        model, space, perceptual = self.networks, self.space, self.material.perceptual.anywhere
        assert isinstance(model, Model)
        target, reference, random = self.batch()
        if self.passed < 0:
            with torch.no_grad():
                latents = model.encode(target).float()
            coded = through_quantiser(
                latents,
                model.prior.expect,
                random,
                clean_share=0.0,
                step_range=WEIGHTS.step_range,
            )
            return {"rate": coded.bits.mean()}
        taught = round(len(target) * WEIGHTS.teacher_share) if space.compatible else 0
        latents = model.encode(target).float()
        coded = through_quantiser(
            torch.cat([reference[:taught], latents[taught:]]) if taught else latents,
            model.prior.expect,
            random,
            clean_share=CLEAN_SHARE,
            step_range=WEIGHTS.step_range,
        )
        picture = model.decode(coded.latents, coded.steps, coded.hints).float()
        ours = picture[taught:], target[taught:]
        # As if it were four numbers for every 8 × 8 pixels, whatever it is.
        bits = coded.bits * space.channels / 4
        half = len(ours[0]) // 2  # LPIPS takes longer than all else together.
        terms = {
            "pixels": pixel_loss(picture, target),
            "fidelity": WEIGHTS.fidelity * log_error(picture, target),
            "structure": WEIGHTS.structure * structure_loss(*ours),
            "texture": WEIGHTS.texture * texture_loss(*ours),
            "perceptual": WEIGHTS.perceptual
            * perceptual(ours[0][:half], ours[1][:half], random).mean(),
            "rate": self.price() * (bits * coded.steps)[taught:].mean(),
        }
        if taught:
            theirs = perceptual(picture[:taught], target[:taught], random).mean()
            terms["perceptual_taught"] = WEIGHTS.perceptual_taught * theirs
            terms["distill"] = WEIGHTS.distill * F.mse_loss(latents, reference)
            if self.step % WEIGHTS.compatibility_every == 0:
                pair = slice(taught, taught + 2)
                read = self.teacher.decode(coded.latents[pair] + coded.hints[pair, :4]).float()
                terms["compatibility"] = WEIGHTS.compatibility * (
                    pixel_loss(read, target[pair])
                    + WEIGHTS.fidelity * log_error(read, target[pair])
                )
        return terms


def compare_spaces(
    shared: Path, corpus: Path, runs: Path, lpips: Path, names: Collection[str] = ()
) -> None:
    """Train and measure on Kodak what the log does not hold yet; write ``SPACES.md``.

    ``names``: of ``SPACES``; all where there are none.
    """
    torch.set_num_threads(1)
    measured = measured_rows()
    missing = [name for name in names or SPACES if len(measured.get(name, ())) < len(STEPS)]
    if missing:
        material = Material(corpus, lpips)
        teacher = place(Taesd(shared / "models/taesd"), CPU)
        searches: dict[str, Search] = {
            name: SpaceSearch(SPACES[name], material, teacher, runs / folder_of(name))
            for name in missing
        }
        log_times()
        take_turns(searches, logger("space", "train"))
        models: dict[str, nn.Module] = {name: run.trained() for name, run in searches.items()}
        models[BUNDLED] = place(Model(Space(4)), CPU)
        for name, model in models.items():
            assert isinstance(model, Model)
            # Last what tells that a space is done, so that whatever stopped before goes on.
            look_at_channels(name, model, material)
            measure(name, model, shared, material.lpips)
    write_report()


def folder_of(name: str) -> str:
    """A space's run."""
    return "space-" + re.sub(r"\W+", "-", name)


def load_trained(name: str, runs: Path) -> Model:
    """Of ``SPACES``, as its run left it. Raises ``FileNotFoundError`` where it has not run."""
    model = Model(SPACES[name])
    weights = load_file(runs / folder_of(name) / "weights.safetensors")
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    return place(model, CPU)


def log_times() -> None:
    """Of all in turns, because another machine has other times; the weights do not matter."""
    works = {name: decoding(Model(space)) for name, space in (SPACES | {BUNDLED: Space(4)}).items()}
    for name, milliseconds in fastest(works).items():
        row = {"candidate": name, "milliseconds": round(milliseconds, 1)}
        logger("space", "time")(row)


def decoding(model: nn.Module) -> Callable[[], object]:
    """Of a picture of 512 × 512 pixels, without the prior's part in it."""
    assert isinstance(model, Model)
    planes = model.encode(torch.zeros(1, 3, 512, 512)).detach()
    hints = planes.repeat(1, 2, 1, 1)

    @torch.inference_mode()
    def work() -> None:
        with mixed_precision(CPU):
            model.decode(planes, torch.ones(1), hints)

    return work


def measure(name: str, model: Model, shared: Path, lpips: Lpips) -> None:
    """On the Kodak photographs' middles, in bfloat16, as the package runs its networks."""
    paths = sorted((shared / "photos/kodak").glob("*.png"))
    known = {row["step"] for row in read_log("space", "measure") if row["candidate"] == name}
    for step in sorted(set(STEPS) - known):
        sums: dict[str, float] = {}
        for path in paths:
            rgb = centre_crop(path)
            decoded, bits = coded_picture(model, rgb, step)
            for measured, value in (
                ("bpp", bits / (rgb.shape[0] * rgb.shape[1])),
                ("psnr", psnr(rgb, decoded)),
                ("ssimulacra2", ssimulacra2(rgb, decoded)),
                ("lpips", lpips(rgb, decoded)),
            ):
                sums[measured] = sums.get(measured, 0.0) + value
        means = {measured: round(total / len(paths), 5) for measured, total in sums.items()}
        logger("space", "measure")({"candidate": name, "step": step} | means)


@torch.inference_mode()
def look_at_channels(name: str, model: Model, material: Material) -> None:
    """What became of the additional ones, on photographs that were held out."""
    if name in last_rows("space", "channels"):
        return
    bits, spreads = [], []
    for rgb in photographs(material):
        latents, coded, expected, steps = through_prior(model, rgb, CHANNELS_STEP)
        bits.append(expected.bits(coded, steps).mean((0, 2, 3)))
        spreads.append(latents.std((0, 2, 3)))
    row: Row = {"candidate": name}
    for what, values in (("bits", bits), ("spread", spreads)):
        row[what] = [round(value, 3) for value in torch.stack(values).mean(0).tolist()]
    logger("space", "channels")(row)


@torch.inference_mode()
def coded_picture(
    model: Model, rgb: NDArray[np.uint8], step: float
) -> tuple[NDArray[np.uint8], float]:
    """What the latents decode to after rounding, and the bits that an ideal coder takes."""
    _, coded, expected, steps = through_prior(model, rgb, step)
    with mixed_precision(CPU):
        picture = model.decode(coded, steps, expected.hints(coded, steps)).float()[0]
    levels = ((picture + 1) * 127.5).round().clamp(0, 255).byte()
    return levels.permute(1, 2, 0).numpy(), float(expected.bits(coded, steps).sum())


def through_prior(
    model: Model, rgb: NDArray[np.uint8], step: float
) -> tuple[Tensor, Tensor, Expectation, Tensor]:
    """Latents, the same rounded, what the prior expected of these, and the step as a tensor."""
    pixels = to_float(torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None])
    steps = torch.full((1,), step)
    with mixed_precision(CPU):
        latents = model.encode(pixels).float()
    coded = torch.round(latents / step) * step
    return latents, coded, model.prior.expect(coded, steps), steps


def write_report() -> None:
    """Of what the log holds."""
    parts = [INTRODUCTION, rate_table(), channel_table(), point_table(), FINDINGS]
    TARGET.write_text("\n".join(parts))


def measured_rows() -> dict[str, list[Row]]:
    """Of each space that was measured."""
    curves: dict[str, list[Row]] = {name: [] for name in (*SPACES, BUNDLED)}
    for row in read_log("space", "measure"):
        curves[row["candidate"]].append(row)
    return {name: rows for name, rows in curves.items() if rows}


def rate_table() -> str:
    trained, curves = last_rows("space"), measured_rows()

    def change(anchor: str, name: str, measured: str) -> str:
        if name == anchor:
            return "–"
        of = [[(row["bpp"], row[measured]) for row in curves[each]] for each in (anchor, name)]
        rate = delta_rate(of[0], of[1], low=LOW, high=HIGH)
        return "–" if rate is None else f"{100 * rate:+.0f} %"

    def control(space: Space) -> str:
        """What was held to Stable Diffusion's space for as long, or nearly."""
        longer = space.seconds >= LONGER and LONGER_CONTROL in curves
        return LONGER_CONTROL if longer else CONTROL

    rows = []
    for name in curves:
        end, space = trained.get(name), SPACES.get(name, Space(4))
        rows.append(
            [
                name,
                f"{end['seconds']:.0f}" if end else "–",
                f"{end['step']:,}" if end else "–",
                f"{decode_ratio(space):.2f}",
                f"{space.channels / 64:.4g}",
                *(
                    " / ".join(change(anchor, name, each) for anchor in (control(space), BUNDLED))
                    for each in MEASURES
                ),
            ]
        )
    titles = ("space", "CPU s", "steps", "decode, `lite` being 1", "numbers a pixel")
    return table((*titles, *MEASURES.values()), rows)


def decode_ratio(space: Space) -> float:
    """Time to decode beside ``CONTROL``'s of the same start, for machines differ; the median."""
    starts: list[Row] = []
    for row in read_log("space", "time"):
        if row["candidate"] == CONTROL:
            starts.append({})
        starts[-1][row["candidate"]] = row["milliseconds"]
    return median(
        float(start[name] / start[CONTROL])
        for start in starts
        for name in start
        if SPACES.get(name, Space(4))[:2] == space[:2]
    )


def channel_table() -> str:
    rows = []
    for name, row in last_rows("space", "channels").items():
        space = SPACES.get(name, Space(4))
        own = 16 if space.sixteenth else 4
        cells = [name]
        for what in ("spread", "bits"):
            for values in (row[what][:own], row[what][own:]):
                cells.append(f"{mean(values):.2f}" if values else "–")
        rows.append(cells)
    return (
        "Of a number, mean over its channels and photographs that were held out, at a step of "
        f"{CHANNELS_STEP}: of those that it began with / of those added.\n\n"
    ) + table(("space", "spread", "of those added", "bits", "of those added"), rows)


def point_table() -> str:
    rows = [
        [
            name,
            str(row["step"]),
            f"{row['bpp']:.4f}",
            f"{row['psnr']:.2f}",
            f"{row['ssimulacra2']:.1f}",
            f"{row['lpips']:.4f}",
        ]
        for name, rows in measured_rows().items()
        for row in rows
    ]
    return table(("space", "step", "bits a pixel", *MEASURES.values()), rows)


INTRODUCTION = f"""\
# What the shared latent space costs

Written by `python -m training spaces` from `logs/search.jsonl`; how it is done is told in
`spaces.py`. Kodak's 24 photographs, their middles of 512 × 512 pixels, which were neither trained
nor tuned on: latents rounded, not refined, no guard; bits of an ideal coder. Bjøntegaard rates from
{LOW} to {HIGH} bits a pixel, less being fewer bytes at equal measure: beside what was held to
Stable Diffusion's space for as long / beside the bundled `lite`, with which all begin.
"4 at 1/8, further" begins with the weights of "4 at 1/8, longer" and stands beside a control that
had {LONGER:.0f} seconds, not the {LONGER + FURTHER:.0f} of both. It is the bundled `compact`, but
for the decoder's last stage and the integer prior.
"""

FINDINGS = """\
## What it says

- The constraint costs bytes. With the same four numbers for 8 × 8 pixels, forty minutes of one core
  without the teacher's part of the loss save 18 % of them at equal SSIMULACRA2 beside forty minutes
  with it, 8 % at equal LPIPS, 22 % at equal PSNR: no measure pays for another. Beside the bundled
  weights, with which both began, it is 22, 7 and 24 %: the constrained run has gained 5, 0 and 3 %
  by a price for the symbols fifteen times that of the bundled one's training, and no more.
- It is not at its end. Fifty minutes more save another 3 to 5 % by each measure: 24, 12 and 28 %
  beside the bundled weights.
- Eight channels move the ceiling, not the middle. At a step of 0.25 they reach what four do not at
  any step: 25.24 dB, SSIMULACRA2 1.9, LPIPS 0.081 for 0.20 bits a pixel. At 0.16 they are about
  as good as four by SSIMULACRA2 and a little better by PSNR and LPIPS; below, four take fewer bits.
- Additional channels must be large enough to survive rounding from the first step, and need a while
  before they are priced. In an earlier run they began small and unheeded: spread 0.02, no bits. Now
  they begin with a spread of 1. In the short runs, whose price rises within a minute, 0.06 of it is
  left, and eight and twelve are near four; in the longer one, where it rose in twelve,
  0.24.
- At 1/16 nothing is won in seven minutes, though its prior, which begins from nothing, had a minute
  alone before. The same numbers in another order save 5 % beside the control by SSIMULACRA2, where
  those at 1/8 save 15; the additional ones of 32 and 48 keep more of their spread than at 1/8, 0.18
  and 0.16, and cost more than they bring: 12 and 21 % more bytes than the control.

## What follows

The least gain for which a second latent space would be worth having beside the shared one was set
at 20 % by SSIMULACRA2 at the same LPIPS: four free channels are past it beside the bundled weights,
and just short of it, 18 %, beside the control of as many seconds. They are the bundled model
`compact`, which is for whoever wants the smallest files ([which to choose](../docs/model.md)).

## What it cannot say

- One run each, of 8 crops of 128² pixels, from weights that had 11 core-hours within the
  constraint.
- The runs "4 at 1/8, longer" and "8 at 1/8, longer" were interrupted, and their length was set anew
  each time: first 4,800 seconds, from 1,090 4,200, from 1,330 2,700, from 1,400 2,400. So their
  learning rate fell at once by a sixth at that last change, and evenly to zero from there.
- Three machines: 8 and 12 channels and these two runs were trained on one that makes 0.6 of the
  first one's steps in a second; "Stable Diffusion's, longer", "4 at 1/8, further" and those at 1/16
  on a third. Compare steps as well.
- Twelve channels were not trained for longer, nor anything at 1/16.
- Latents are rounded here. The package refines them, which wins back much of what the constraint
  costs: at a quality of 50, 9 % are left at equal SSIMULACRA2, and 2 % at equal LPIPS.
  [codec.md](../benchmarks/results/codec.md) has whole blobs.
- A step means something else in each space, for nothing holds the latents' size: at a step of 0.5
  those of the free space have half as much spread again. Compare curves, not rows.
"""
