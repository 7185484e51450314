"""The coarse rule's distance from what really happens is bounded, for every policy that interrupts."""

from __future__ import annotations

import pytest

from sim.machine.compiled.cache import has_compiler
from tests.distance import METRICS, all_policies, closed_loops, design, distance, interrupting, patch

pytestmark = pytest.mark.skipif(not has_compiler(), reason="the exact rule takes too long without numba")

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


def test_the_design_covers_every_policy_that_interrupts_and_loops_of_up_to_256_senders():
    assert {case.policy for case in [*patch(), *design(), *all_policies()]} == set(interrupting())
    assert max(case.parameters["jobs"] for case in closed_loops()) == 256


@pytest.mark.parametrize("policy", [name for name in interrupting() if name != "xpfo"])
def test_other_policies_are_as_near(policy):
    for case in [case for case in all_policies() if case.policy == policy and case.parameters["cores"] <= 96][:3]:
        found = distance(case)
        assert all(abs(found[name]) <= 0.25 for name in METRICS), (case.name, found)


def test_saturated_loops_are_off_by_what_the_docs_say():
    for case in [case for case in closed_loops() if case.parameters["jobs"] in (8, 55)]:
        found = distance(case)
        assert abs(found["flush_wait_ns"]) <= 0.25, (case.name, found)
        assert abs(found["flush_interval_ns"]) <= 0.25, (case.name, found)
