from benchmarks.effort import EFFORTS, report


def test_report__gives_every_efforts_share_of_the_best_gain():
    """Effort 8 is the best here, and 4 has half of its gain."""
    gains = dict(zip(EFFORTS, (0, 1, 2, 3, 4, 5, 6, 7, 8, 6), strict=True))
    rows: list[dict[str, str | int | float]] = [
        {
            "picture": picture,
            "effort": effort,
            "bytes": 1000 + effort,
            "psnr": 30.0,
            "ssimulacra2": start + 2 * gain,
            "lpips": 0.1,
            "seconds": 0.5 * (1 + effort),
        }
        for picture, start in (("one", -10), ("two", 30))
        for effort, gain in gains.items()
    ]
    lines = report(rows).splitlines()
    cells = {line.split(" | ")[0]: line.split(" | ") for line in lines if line.startswith("| ")}
    assert "2 held-out photographs" in lines[0]
    assert cells["| 0"][3:5] == ["10.0", "0%"]
    assert cells["| 4"][3:5] == ["18.0", "50%"]
    assert cells["| 8"][3:5] == ["26.0", "100%"]
    assert cells["| 9"][6] == "10.0 × |"
