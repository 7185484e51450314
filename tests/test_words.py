"""Every combination of a policy's words is refused in a sentence, or simulated."""

import itertools
import pickle

import cloudpickle
import numpy as np
import pytest

from sim import simulate
from sim.policies import Policies
from sim.policy import PLACES, Build, Check, Done, Events, Line, Local, Mark, Policy, Run, Targets, Write
from tests.test_engines import by_engine, configuration

SMALL = 12  # CPUs
SHORT = {"window_events": 64, "warmup_events": 16, "cores": 6, "jobs": 4}
PLAIN = Mark(Line.GLOBAL, Write.PLAIN)


def attempt(make):
    """What is made, or None where it is refused in a sentence."""
    try:
        return make()
    except ValueError as error:
        if len(str(error)) < 30:
            raise
        return None


def marks():
    made = [attempt(lambda line=line, write=write: Mark(line, write)) for line in Line for write in Write]
    return [mark for mark in made if mark is not None]


def flush_events(local, targets):
    """Every combination of the other words that a machine models, marks without their checks left out."""
    words = itertools.product(Done, Run, [False, True])
    made = [
        attempt(lambda d=done, r=run, m=mutex: Policy(local=local, targets=targets, done=d, run=r, mutex=m))
        for done, run, mutex in words
    ]
    return [policy for policy in made if policy is not None]


def small_configuration(*seed):
    """A random machine and workload of few CPUs."""
    for number in itertools.count():
        made = configuration(np.random.default_rng([number, *seed]))
        if 1 < made[0].cores <= SMALL:
            return made


def test_lines_are_written_in_the_ways_that_a_machine_models():
    assert marks() == [
        Mark(Line.GLOBAL, Write.PLAIN),
        Mark(Line.GLOBAL, Write.ATOMIC),
        Mark(Line.GLOBAL, Write.TEST_FIRST),
        Mark(Line.TASK, Write.PLAIN),
        Mark(Line.PER_CPU, Write.TEST_FIRST),
        Mark(Line.NODE, Write.TEST_FIRST),
    ]
    with pytest.raises(ValueError, match=r"write=Write.TEST_FIRST: must be Write.PLAIN with Line.TASK"):
        Mark(Line.TASK, Write.TEST_FIRST)


def test_as_many_flush_events_are_modelled_as_there_should_be():
    count = {targets: sum(len(flush_events(local, targets)) for local in Local) for targets in Targets}
    by_interrupt = (len(Local) * len(Done) - 1) * len(Run) * 2  # no acks are there to flush after where nobody waits
    assert count == {
        Targets.NOBODY: 2,
        Targets.HARDWARE: 1,
        Targets.OTHER_ONLINE: by_interrupt,
        Targets.OTHER_BUSY: by_interrupt,
        Targets.OTHER_RUNNING: by_interrupt,
        Targets.OTHER_IN_KERNEL: by_interrupt,
        Targets.OTHER_HOUSEKEEPING: by_interrupt,
    }


@pytest.mark.parametrize("local", Local)
@pytest.mark.parametrize("targets", Targets)
def test_each_flush_event_that_is_not_refused_gives_numbers(local, targets):
    for number, policy in enumerate(flush_events(local, targets)):
        shape, cost, *rest = small_configuration(number, list(Local).index(local), list(Targets).index(targets))
        if targets.looks_for_user_mode:
            cost |= {"preempted_share": 0.0, "kernel_share": 0.3}
        lane = shape, cost, *rest
        found = by_engine("compiled", policy, *lane, 0.0)
        assert (found["interval_ns"] > 0.0).all(), policy
        assert np.isfinite(found["wait_ns"]).all(), policy


def checked():
    """Every mark and every way to check it that is not refused."""
    for local, mark in itertools.product((Local.NEVER, Local.FIRST), [None, *marks()]):
        for places in itertools.chain.from_iterable(itertools.combinations(PLACES, n) for n in range(len(PLACES) + 1)):
            for line, clears in itertools.product(Line if places else [Line.GLOBAL], (True, False)):
                made = attempt(
                    lambda o=local, m=mark, at=places, c=clears, of=line: Policy(
                        local=o, mark=m, **{place: Check(of, c) for place in at}
                    )
                )
                if made is not None:
                    yield made


def test_each_check_of_a_mark_is_refused_or_gives_numbers(parameters):
    accepted = list(dict.fromkeys(checked()))
    global_checks = 2**4 - 2**2 - 1  # some of four places, not both a switch and the migration that is one
    without_entries = 2**3 - 2 - 1  # some of the three others
    # plain marks are cleared, generations read; masks that are tested first, per socket or not; flags; a task's own
    assert len(accepted) == 2 * (1 + 3 * global_checks + 1 + 3 * without_entries)
    policies = {f"p{number}": policy for number, policy in enumerate(accepted)}
    p = parameters("i5_3550", **SHORT, kernel_entries_per_s=2e4, sockets=2)
    for name, policy in policies.items():
        r = {metric: value[0, 0] for metric, value in simulate(policy=name, policies=policies, **p).items()}
        assert np.isfinite(r["system_time_s"]), policy
        if not policy.checks:
            assert r["stale_window_ns"] == np.inf or policy.local is Local.FIRST
            continue
        # A check that finds the mark pending at once: the window is no longer than the checks are apart.
        assert 0 < r["stale_window_ns"] < np.inf
        assert r["switch_s"] > 0
        if set(policy.checks) == {"tick"}:
            assert r["stale_window_p99_ns"] <= 1e9 / p["tick_hz"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"tick": Check(Line.GLOBAL)}, "tick: checks a mark, but no CPU is marked"),
        ({"mark": PLAIN}, "no CPU checks it"),
        ({"mark": PLAIN, "tick": Check(Line.PER_CPU)}, "line=Line.PER_CPU: must be Line.GLOBAL"),
        ({"mark": PLAIN, "tick": Check(Line.GLOBAL, False)}, "clears=False: must be True"),
        ({"mark": Mark(Line.TASK, Write.PLAIN), "tick": Check(Line.TASK)}, "only by migration"),
        ({"mark": PLAIN, "tick": "now"}, "must be a Check or None"),
        ({"build": 1}, "build=1: must be a bool"),
        ({"local": "first"}, "local='first': must be a Local"),
        ({"mark": Line.GLOBAL}, "mark=.*: must be a Mark or None"),
        ({"mutex": 1}, "mutex=1: must be a bool"),
        ({"events": 7}, "events=7: must be a function"),
        ({"targets": Targets.HARDWARE}, "local=Local.FIRST: must be Local.NEVER with Targets.HARDWARE"),
        ({"targets": Targets.OTHER_ONLINE, "mark": PLAIN}, "notified already"),
    ],
)  # fmt: skip
def test_what_no_machine_models_is_refused_in_a_sentence(words, said):
    with pytest.raises((ValueError, TypeError), match=said):
        Policy(**{"local": Local.FIRST} | words)


@pytest.mark.parametrize("made", [lambda: Mark("line", Write.PLAIN), lambda: Check(Write.PLAIN)])
def test_words_of_another_kind_are_refused(made):
    with pytest.raises(TypeError, match="must be a Line"):
        made()


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (7, "must be Events"),
        (Events(np.ones(2), (1,), np.ones((1, 1))), "kunmap is float64"),
        (Events(np.ones(1), (1, 2), np.ones((1, 1))), r"must be numbers of shape \(2, 1\)"),
        (Events(-np.ones(1), (1,), np.ones((1, 1))), "negative"),
        (Events(np.ones(1), (1,), np.full((1, 1), np.nan)), "infinite or NaN"),
        (Events(np.ones(1), (), np.ones((0, 1))), "pages"),
        (Events(np.ones(1), (0.5,), np.ones((1, 1))), "pages"),
        (Events(np.array(["many"]), (1,), np.ones((1, 1))), "kunmap is <U4"),
    ],
)
def test_events_that_are_none_are_refused(events, said):
    with pytest.raises((ValueError, TypeError), match=said):
        counted(events)


def counted(events):
    one = np.ones(1)
    build = Build(one, one, (1,), np.ones((1, 1)), one, one, one, one)
    return Policy(local=Local.FIRST, events=lambda build: events).count(build)


def test_events_of_whole_numbers_are_events():
    checked = counted(Events(np.ones(1, dtype=np.int32), (1,), np.ones((1, 1), dtype=">f4")))
    assert checked.kunmap.dtype == checked.alloc.dtype == np.float64


def test_a_policy_is_pickled_as_it_is_and_takes_its_own_functions_along(tmp_path):
    for name in ("xpfo", "xpfo_unmapped_pool", "xpfo_deferred"):
        assert pickle.loads(pickle.dumps(Policies()[name])) == Policies()[name]
    (tmp_path / "mine.py").write_text(
        "from sim.policy import Events, Local, Policy\n\nTWICE = 2.0\n\n\ndef _events(build):\n"
        "    return Events(TWICE * build.kunmap_events, build.pages, build.alloc_events * build.weights)\n\n\n"
        "POLICY = Policy(local=Local.FIRST, events=_events)\n"
    )
    carried = cloudpickle.dumps(Policies(tmp_path)["mine"])
    (tmp_path / "mine.py").unlink()
    one = np.ones(1)
    build = Build(one, one, (1,), np.ones((1, 1)), one, one, one, one)
    assert cloudpickle.loads(carried).count(build).total == 3.0
