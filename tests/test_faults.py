"""Faults at every step of a picture's life (``faults.py``): nothing is ever lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .faults import SCENARIOS


@pytest.mark.parametrize(
    ("model", "scenario"),
    [
        *(("product", scenario) for scenario in SCENARIOS),
        ("snapshot", "compress"),  # whose source is deleted
        ("snapshot", "free"),
    ],
)
def test_fault__at_every_step_loses_nothing(scenario: str, model: str):
    finished = subprocess.run(
        [sys.executable, "-m", "tests.faults", scenario, model],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"]},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert finished.stdout, finished.stderr
    told = json.loads(finished.stdout)
    assert told["violations"] == []
    assert told["faults"] >= 4 * told["steps"] > 40
