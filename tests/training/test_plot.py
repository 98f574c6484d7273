"""The drawing of the logs."""

from training import plot

LOGS = {run: plot.read(run) for run in plot.RUNS}


def test_curves__run_one_after_the_other():
    """Each begins where the one before has ended, whatever the logs call their columns."""
    ends = 0.0
    for run, (seen, values) in plot.curves(LOGS, "learning_rate").items():
        assert seen[0] > ends
        assert max(values) <= plot.HIGHEST_RATE, run
        ends = seen[-1]
    assert set(plot.RUNS) - set(plot.curves(LOGS, "pixels")) == {"heads"}
    assert min(plot.curves(LOGS, "rate")["further"][1]) > plot.HIGHEST_RATE


def test_plot__names_every_run_and_every_panel(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "TARGET", tmp_path / "training.svg")
    plot.plot()
    drawn = plot.TARGET.read_text()
    for text in [*(f"{run}.toml" for run in plot.RUNS), *plot.PANELS.values()]:
        assert text.replace("'", "&apos;") in drawn or text in drawn
