import json
import subprocess

import pytest
from PIL import Image

from training import ladder, ladder_report
from training.ladder import Version

NOTES = """
[aaaaaaaa]
run = "`one.toml`, as far as step 50"
crops = "50 × 8"
log = "one.jsonl"
until = 50
why = "There was none."

[bbbbbbbb]
run = "`one.toml`"
crops = "100 × 8"
log = "one.jsonl"
missing = "the trial's"
why = "Better everywhere."
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two versions of the weights, of which the second is committed twice."""
    monkeypatch.setattr(ladder, "ROOT", tmp_path)
    monkeypatch.setattr(ladder, "WEIGHTS", {"lite": "lite/weights", "compact": "compact/weights"})
    weights = tmp_path / "lite/weights"
    weights.parent.mkdir(parents=True)

    def git(*arguments: str) -> None:
        identity = "-c", "user.name=x", "-c", "user.email=x@example.com"
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    (tmp_path / "compact").mkdir()
    (tmp_path / "compact/weights").write_text("compact")
    git("init", "--quiet")
    for content in ("one", "two", "one"):
        weights.write_text(content)
        git("add", ".")
        git("commit", "--quiet", "--message", content)
    return weights


def test_versions__are_what_was_committed_once_each(repository):
    found = ladder.versions()
    assert [version.model for version in found] == ["lite", "lite", "compact"]
    assert all(version.commit for version in found)
    assert found[2].name.startswith("compact, ")


def test_versions__end_with_weights_that_are_in_no_commit(repository):
    repository.write_text("three")
    *_, last, of_compact = ladder.versions()
    assert last.commit is None
    assert last.name == "not committed"
    assert of_compact.commit


def rows(weights: str, better: float) -> list[ladder_report.Row]:
    """Of one photograph."""
    made = []
    for fineness, bpp in zip(ladder.FINENESSES, (0.05, 0.08, 0.1, 0.15, 0.2), strict=True):
        small = better if fineness == ladder.SHOWN_AT else ""
        values = {"fineness": fineness, "bpp": bpp, "decode": small}
        values |= dict.fromkeys(ladder_report.MEASURES, 100 * bpp + better)
        values |= {f"psnr 1/{part}": small for part in ladder_report.PARTS}
        made.append({"weights": weights, "picture": "one"} | {k: str(v) for k, v in values.items()})
    return made


def test_report__says_what_was_measured_and_why(tmp_path, monkeypatch):
    (tmp_path / "ladder.toml").write_text(NOTES)
    log = [{"step": step, "seconds": 18 * step} for step in (50, 100)]
    (tmp_path / "one.jsonl").write_text("\n".join(json.dumps(row) for row in log))
    for name, path in {
        "NOTES": "ladder.toml", "LOGS": "", "RESULTS": "RESULTS.md", "PICTURE": "ladder.webp"
    }.items():  # fmt: skip
        monkeypatch.setattr(ladder_report, name, tmp_path / path)
    versions = [Version("aaaaaaaa", "1" * 40, "2026-11-01"), Version("bbbbbbbb", None, "")]
    strips = {name: Image.new("RGB", (48, 12)) for name in ("source", "a", "b")}
    names = {version.weights: version.name for version in versions}
    ladder_report.report(names, rows("aaaaaaaa", 0) + rows("bbbbbbbb", 5), strips)
    text = (tmp_path / "RESULTS.md").read_text()
    first, second = (line for line in text.splitlines() if "| `one.toml`" in line)
    assert first.startswith("| 1111111, 2026-11-01 | `one.toml`, as far as step 50 | 50 × 8 |")
    assert "| 0.5 / 0.5 |" in first
    assert "| 0.5 / 1.0 |" in second
    assert "| not committed | 0.50 | 0.1500 | 20.00 |" in text
    assert "Of not committed: the trial's log was not kept" in text
    assert "- **not committed**: Better everywhere." in text
    assert (tmp_path / "ladder.webp").stat().st_size <= ladder_report.LARGEST_PICTURE


def test_report__tells_what_a_doubling_of_the_compute_bought(tmp_path, monkeypatch):
    log = [{"step": step, "seconds": 18 * step} for step in (50, 100, 200, 400)]
    (tmp_path / "one.jsonl").write_text("\n".join(json.dumps(row) for row in log))
    monkeypatch.setattr(ladder_report, "LOGS", tmp_path)
    notes = {
        f"weights {step}": {"log": "one.jsonl", "until": step, "on_slope": step != 200}
        for step in (50, 100, 200, 400)
    }
    names = {weights: weights for weights in notes}
    # A unit for each doubling from the first to the last; the one between is not on the line.
    measured = [
        row
        for weights, better in zip(names, (0, 1, 70, 3), strict=True)
        for row in rows(weights, better)
    ]
    each, later = ladder_report.slope(names, measured, notes).splitlines()[-2:]
    assert each.startswith("| for each doubling | +1.00 | +1.0 | +1.000 |")
    now = ladder_report.at_equal_rate(rows("", 3))["psnr"]
    assert later.startswith(f"| at 16 core-hours, if it goes on so | {now + 2:.2f} |")


def test_report__draws_no_slope_through_two_versions():
    assert "fewer than 3" in ladder_report.slope({}, [], {})


def test_core_hours__count_training_in_another_latent_space_on_its_one_core(tmp_path, monkeypatch):
    (tmp_path / "heads.jsonl").write_text(json.dumps({"step": 9, "seconds": 1800}))
    monkeypatch.setattr(ladder_report, "LOGS", tmp_path)
    monkeypatch.setattr(ladder_report, "last_rows", lambda kind: {"free": {"seconds": 3600}})
    notes = {"aaaaaaaa": {"log": "heads.jsonl", "spaces": ["free"]}}
    assert ladder_report.core_hours(["aaaaaaaa"], notes) == (2.0, 2.0)


def test_up_to__goes_back_to_what_each_began_with():
    names = dict.fromkeys(("first", "second", "third", "branch", "last"), "")
    notes = {"branch": {"begins_with": "second"}}
    assert ladder_report.up_to("last", names, notes) == ["first", "second", "branch", "last"]
    assert ladder_report.up_to("third", names, notes) == ["first", "second", "third"]
