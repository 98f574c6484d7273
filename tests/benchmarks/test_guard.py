from collections import Counter

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

from benchmarks import guard as benchmark
from benchmarks import guard_report, ocr
from benchmarks.rendered import HEIGHT, WIDTH, rendered
from django_latentimg import codec
from django_latentimg.codec.guard import Guard
from tests.conftest import picture


def row(variant: str, *, picture: str = "label", **values: object) -> dict[str, str]:
    key = {"set": "text", "picture": picture, "variant": variant}
    return key | {name: str(value) for name, value in values.items()}


def deal(distance: float, flaw: str = "") -> dict[str, str]:
    return row("patches auto", distance=distance, flaw=flaw)


def test_words__are_without_case_and_punctuation_and_not_single_letters():
    assert ocr.words(["Milk, SOYA (1.5 g)", "milk -- x"]) == Counter(
        {"milk": 2, "soya": 1, "1.5": 1}
    )


def test_read_again__counts_a_word_as_often_as_it_is_in_both():
    reference = Counter({"milk": 2, "soya": 1})
    assert ocr.read_again(reference, Counter({"milk": 1, "soya": 4, "salt": 1})) == 2


def test_steady__words_survive_a_move_and_a_growth():
    source = np.zeros((20, 40, 3), np.uint8)
    readings = {
        (20, 40): Counter({"milk": 2, "soya": 1, "salt": 1}),
        (21, 41): Counter({"milk": 2, "soya": 1}),
        (21, 42): Counter({"milk": 1, "salt": 1}),
    }
    asked = []

    def engine(rgb, least):
        asked.append(least)
        return readings[rgb.shape[:2]]

    assert ocr.steady(engine, source) == Counter({"milk": 1})
    assert asked == [ocr.SURE, 0, 0]
    assert readings[20, 40].total() == 4, "what was read is left as it is"


def test_accuracy__is_of_all_words_together_or_nothing():
    rows = [
        row("latents", **{"Tesseract words": 9, "Tesseract read": 6}),
        row("latents", **{"Tesseract words": 1, "Tesseract read": 0}),
    ]
    assert guard_report.accuracy(rows, "Tesseract") == pytest.approx(0.6)
    assert guard_report.accuracy(rows, "RapidOCR") is None


@pytest.mark.parametrize(
    ("ours", "avif", "worse"),
    [
        (deal(0.1), deal(0.2), False),
        (deal(0.2), deal(0.1), True),
        (deal(0.1), deal(0.1), False),
        (deal(0.2), deal(0.1, "text"), False),
        (deal(0.1, "text"), deal(0.2), True),
        (deal(0.1, "text"), deal(0.2, "text"), False),
    ],
)
def test_is_worse__asks_for_the_floors_first(ours, avif, worse):
    assert guard_report.is_worse(ours, avif) is worse


def test_in_turn__gives_each_set_its_share_of_any_beginning():
    sets = [
        [benchmark.Task(name, str(number), None) for number in range(count)]
        for name, count in (("text", 10), ("faces", 20))
    ]
    tasks = benchmark.in_turn(sets)
    assert sorted(tasks) == sorted(sets[0] + sets[1])
    assert Counter(task.set for task in tasks[:15]) == {"text": 5, "faces": 10}


def test_avif_as_good__is_the_smallest(monkeypatch):
    """Here a picture of quality q has a SSIMULACRA2 of q."""

    class Fake:
        def __init__(self, quality: int) -> None:
            self.quality = self.rgb = quality

        @classmethod
        def encode(cls, rgb: object, quality: int) -> "Fake":
            return cls(quality)

    monkeypatch.setattr(benchmark, "Avif", Fake)
    monkeypatch.setitem(benchmark._measures, "ssimulacra2", lambda rgb, quality: quality)
    for least, quality in ((-5, 0), (0, 0), (7, 7), (12.5, 13), (60, 60), (94, 94), (99, 95)):
        assert benchmark.avif_as_good(np.zeros(1), least).quality == quality


def test_guarded__is_what_encode_makes():
    source = picture(96, 80)
    guard = Guard(widths=(48,))
    plain = codec.encode(source)
    assert benchmark.guarded(plain, np.asarray(source), guard) == codec.encode(source, guard=guard)


def test_measure_in_process__measures_only_what_is_not_there(tmp_path, monkeypatch):
    source = tmp_path / "llama.png"
    picture(96, 80).save(source)
    asked = []

    def measure(*pictures: np.ndarray) -> float:
        asked.append(pictures)
        return 0.5

    monkeypatch.setattr(benchmark, "_measures", dict.fromkeys(("ssimulacra2", "lpips"), measure))
    task = benchmark.Task("products", "llama", source)
    _, rows = benchmark.measure_in_process((task, 0, False, {}))
    assert {row["variant"] for row in rows.values()} == {
        "latents",
        "patches off",
        "patches auto",
        "AVIF of the same bytes",
    }
    assert asked
    asked.clear()
    assert benchmark.measure_in_process((task, 0, False, rows)) == (task, rows)
    assert not asked


def test_rendered__is_the_same_each_time():
    pictures = dict(rendered())
    assert len(pictures) == 24
    again = dict(rendered())
    for name, rgb in pictures.items():
        assert rgb.shape == (HEIGHT, WIDTH, 3)
        assert (rgb == again[name]).all()


def test_report__says_what_was_missed():
    words = {
        f"{engine} {of}": n
        for engine in ocr.ENGINES
        for of, n in (("sure", 12), ("words", 10), ("read", 8))
    }
    common = {"bytes": 900, "distance": 0.2, "flaw": "", "ssimulacra2": 5, "lpips": 0.2} | words
    made = {"kept": "avif", "reason": "text", "patches": 0, "patched": 0, "avif_bytes": 1000}
    rows = [
        row("latents", **common),
        row("patches off", **common | made),
        row("patches auto", **common | made),
        row("AVIF of the same bytes", **common | {"distance": 0.1}),
        row("AVIF 90", **common),
    ]
    text = guard_report.report(rows, {"text": 30, "faces": 20}, [], 1)
    assert "text 1 of 30, faces 0 of 20" in text
    assert "words with patches | 80.0% | **missed** |" in text
    assert "| 1 of 1: text/label | **missed** |" in text
    assert "| text | 0.90 | 0.90 |" in text
