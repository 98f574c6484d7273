"""Candidates of the architecture search, and their training."""

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.conftest import shared
from training import search, search_report
from training.candidates import (
    DECODERS,
    ENCODERS,
    LARGER,
    Candidate,
    Decoder,
    Reparameterised,
    decoder,
    merged,
)
from training.search import (
    DecoderSearch,
    Material,
    Search,
    multiply_adds,
    take_turns,
    with_rounded_weights,
)

DENSE = ("wide above", "deep below", "dilated", "re-parameterised", "untold")
SMALL = replace(decoder("", (8, 8, 8), (2, 1, 1), Reparameterised), seed=3)


def decode(network: torch.nn.Module, side: int = 4) -> torch.Tensor:
    planes = torch.randn(2, 12, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pictures = network(planes[:, :4], torch.tensor([0.0, 0.5]), planes[:, 4:], (1,))
    return pictures[1]


def shake(network: torch.nn.Module) -> torch.nn.Module:
    """What begins with zeros is seen only after training."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("name", DECODERS)
def test_decoders__have_the_interface_of_the_shipped_one(name):
    assert decode(DECODERS[name].build()).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("name", DENSE)
def test_decoders__of_dense_convolutions_multiply_as_much_as_the_shipped_one(name):
    shipped = multiply_adds(DECODERS["shipped"].build())
    assert multiply_adds(DECODERS[name].build()) == pytest.approx(shipped, rel=0.1)


def test_larger_decoders__multiply_four_times_as_much_at_most():
    shipped, *larger = (multiply_adds(candidate.build()) for candidate in LARGER.values())
    assert all(3.8 * shipped < each <= 4 * shipped for each in larger)
    planes = decode(LARGER["double"].build())
    assert planes.shape == (2, 3, 32, 32)


def test_multiply_adds__of_the_shipped_decoder_are_those_of_its_convolutions():
    eighth = 9 * (13 * 128 + 8 * 128**2 + 128 * 256) / 64
    quarter = 9 * (4 * 64**2 + 64 * 128) / 16
    half = 9 * (2 * 32**2 + 32 * 12) / 4
    assert multiply_adds(DECODERS["shipped"].build()) == eighth + quarter + half


def test_encoders__multiply_about_as_much():
    counts = [multiply_adds(candidate.build()) for candidate in ENCODERS.values()]
    assert max(counts) < 1.2 * min(counts)


def test_merged__gives_the_same_picture_with_fewer_weights():
    network = shake(SMALL.build())
    plain = merged(network)
    assert not any(isinstance(part, Reparameterised) for part in plain.modules())
    torch.testing.assert_close(decode(plain), decode(network))
    assert any(isinstance(part, Reparameterised) for part in network.modules())


def test_with_rounded_weights__changes_all_but_the_first_convolution():
    network = shake(DECODERS["gated"].build())
    rounded = dict(with_rounded_weights(network).named_parameters())
    for name, value in network.named_parameters():
        same = name.startswith("enter") or name.endswith("bias")
        assert torch.equal(rounded[name], value) == same, name


@pytest.fixture
def start(corpus, tmp_path, monkeypatch):
    """Makes a search of one candidate in a folder; its steps take a second each."""
    material = Material(corpus, shared("metrics/lpips_squeeze"))
    material.crops = search.Crops(corpus, side=48, batch=4, seed=1)
    seconds = itertools.count()
    monkeypatch.setattr(Search, "clock", staticmethod(partial(next, seconds)))
    return lambda run: DecoderSearch(SMALL, material, tmp_path / run, 6.0)


def test_search__goes_on_as_if_it_had_not_been_interrupted(start):
    whole = start("whole")
    expected = [whole.advance() for _ in range(6)]
    first = start("parts")
    told = [first.advance() for _ in range(3)]
    first.save()
    second = start("parts")
    assert (second.step, second.seconds) == (3, 3.0)
    told += [second.advance() for _ in range(3)]
    assert told == expected
    assert torch.equal(decode(second.trained()), decode(whole.trained()))


def test_take_turns__until_each_has_had_its_seconds(start, monkeypatch):
    monkeypatch.setattr(search, "TURN", 2.0)
    rows: list[search.Row] = []
    runs = {name: start(name) for name in ("one", "other")}
    for _ in range(3):
        runs["one"].advance()
    take_turns(runs, rows.append)
    assert [(row["candidate"], row["step"]) for row in rows] == [
        ("other", 2), ("one", 4), ("other", 4), ("one", 6), ("other", 6)
    ]  # fmt: skip
    assert 0 < runs["one"].rate() < search.LEARNING_RATE
    assert isinstance(runs["one"].trained(), Decoder)


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Where it goes; it is of a log that nothing has written to yet."""
    monkeypatch.setattr(search, "LOG", tmp_path / "search.jsonl")
    monkeypatch.setattr(search_report, "TARGET", tmp_path / "SEARCH.md")
    return tmp_path / "SEARCH.md"


def measured(kind: str, candidates: dict[str, Candidate]) -> None:
    """Each a decibel better than the one before, or two."""
    search.logger(kind, "size")({"training": 3661})
    for number, (name, candidate) in enumerate(candidates.items()):
        size = {"milliseconds": 90.0 + number, "multiply_adds": 42570, "parameters": 1_700_000}
        search.logger(kind, "time")({"candidate": name} | size)
        seconds = 360.0 * candidate.times
        search.logger(kind, "train")({"candidate": name, "seconds": seconds, "step": 900})
        for weights, loss in (("float", 0.0), ("int8", 0.5)):
            values = [20.0 + number - loss, 24.0 + 2 * number - loss]
            measures = {
                f"{name} {step:g}": values
                for name in search_report.MEASURES
                for step in search.STEPS
            }
            search.logger(kind, "measure")({"candidate": name, "weights": weights} | measures)


def test_write_report__tells_differences_photograph_by_photograph(report):
    measured("decoder", DECODERS)
    search_report.write_report()
    text = report.read_text()
    assert "1.00 core-hours for 10 decoders" in text
    assert "| wide above | 25.00 |" in text
    assert "| wide above | +3.00 ± 1.00 |" in text
    assert "| wide above | -0.500 |" in text
    assert "## Encoders" not in text
    assert "## A larger decoder" not in text


def test_write_report__compares_the_larger_decoders_with_their_own_shipped_one(report):
    measured("decoder", DECODERS)
    measured("larger", LARGER)
    search_report.write_report()
    _, larger = report.read_text().split("## A larger decoder")
    assert "| double, longer | the same with three times the seconds |" in larger
    assert "| 1080 | 900 |" in larger
    assert "| double | +1.50 ± 0.50 |" in larger
    assert "| double, longer | +3.00 ± 1.00 |" in larger
