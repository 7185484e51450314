"""The rule itself, proved: the engine's distance from the fine simulation is bounded."""

from __future__ import annotations

import pytest

from tests.distance import METRICS, design, distance, patch

SPREAD = [case for case in design() if case.parameters["cores"] <= 64][:6]


@pytest.mark.parametrize("case", patch(), ids=lambda case: case.name)
def test_the_engine_is_near_the_truth_at_the_patchs_own_load(case):
    found = distance(case)
    assert all(abs(found[name]) <= 0.20 for name in METRICS), found


@pytest.mark.parametrize("case", SPREAD, ids=lambda case: case.name)
def test_the_engine_is_near_the_truth_elsewhere(case):
    found = distance(case)
    assert all(abs(found[name]) <= 0.25 for name in METRICS), found
    assert abs(found["flush_interval_ns"]) <= 0.10
