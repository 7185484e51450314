"""Every combination of a policy's words is refused in a sentence, or simulated: by both engines alike."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest

from sim import simulate
from sim.abi import (
    PLACES,
    Done,
    Events,
    Flush,
    How,
    Line,
    Look,
    Own,
    Post,
    Run,
    Targets,
    check_events,
    check_policy,
)
from sim.policies import use_policies
from tests.test_engines import by_engine, configuration

SMALL = 12  # CPUs
HARDWARE = {"broadcast_ns": 600.0, "broadcast_page_ns": 10.0, "broadcast_all_ns": 900.0}
SHORT = {"window_events": 64, "warmup_events": 16, "cores": 6, "jobs": 4}


def attempt(make):
    """What is made, or None where it is refused in a sentence."""
    try:
        return make()
    except ValueError as error:
        if len(str(error)) < 30:
            raise
        return None


def posts():
    made = [attempt(lambda line=line, how=how: Post(line, how)) for line in Line for how in How]
    return [post for post in made if post is not None]


def flushes(own, tell):
    words = itertools.product(Done, Run, [None, *posts()], [False, True])
    made = [
        attempt(lambda d=done, r=run, p=post, m=mutex: Flush(own=own, tell=tell, done=d, run=r, post=p, mutex=m))
        for done, run, post, mutex in words
    ]
    return [flush for flush in made if flush is not None]


def small_configuration(*seed):
    """A random machine and workload of few CPUs."""
    for number in itertools.count():
        made = configuration(np.random.default_rng([number, *seed]))
        if 1 < made[0].cores <= SMALL:
            return made


def test_lines_are_written_in_the_ways_that_a_machine_models():
    assert posts() == [
        Post(Line.GLOBAL, How.PLAIN),
        Post(Line.GLOBAL, How.ATOMIC),
        Post(Line.GLOBAL, How.TEST_FIRST),
        Post(Line.TASK, How.PLAIN),
        Post(Line.PER_CPU, How.TEST_FIRST),
        Post(Line.NODE, How.TEST_FIRST),
    ]
    with pytest.raises(ValueError, match=r"Line.TASK is written How.PLAIN: no machine models How.TEST_FIRST"):
        Post(Line.TASK, How.TEST_FIRST)


def test_as_many_flush_events_are_modelled_as_there_should_be():
    count = {tell: sum(len(flushes(own, tell)) for own in Own) for tell in Targets}
    told = (len(Own) * len(Done) - 1) * len(Run) * 2  # no acks are there to flush after where nobody waits
    assert count == {
        Targets.NOBODY: 2 * (1 + len(posts())),
        Targets.HARDWARE: 1,
        Targets.OTHER_ONLINE: told,
        Targets.OTHER_BUSY: told,
        Targets.OTHER_RUNNING: told,
    }


@pytest.mark.parametrize("own", Own)
@pytest.mark.parametrize("tell", Targets)
def test_each_flush_event_that_is_not_refused_is_the_same_by_both_engines(own, tell):
    for number, flush in enumerate(flushes(own, tell)):
        lane = small_configuration(number, list(Own).index(own), list(Targets).index(tell))
        looking = flush.post is not None and flush.post.line is Line.GLOBAL and number % 2 == 0
        vectorized, compiled = (
            by_engine(each, "coarse", flush, *lane, looking, 0.0) for each in ("vectorized", "compiled")
        )
        for metric, values in vectorized.items():
            assert values.tobytes() == compiled[metric].tobytes(), (flush, metric)
        if tell.interrupts:
            exact = by_engine("compiled", "exact", flush, *lane, looking, 0.0)
            assert (exact["interval_ns"] > 0.0).all(), flush
            assert np.isfinite(exact["wait_ns"]).all(), flush


def policy(**answers):
    """A policy of these functions."""
    module = ModuleType("mine")
    for name, answer in answers.items():
        setattr(module, name, lambda answer=answer: answer)
    return module


def looked_at():
    """Every note and every way to look at it, refused ones included: (flush, {place: look})."""
    for own, post in itertools.product((Own.NEVER, Own.BEFORE), [None, *posts()]):
        for places in itertools.chain.from_iterable(itertools.combinations(PLACES, n) for n in range(len(PLACES) + 1)):
            lines = Line if places else [Line.GLOBAL]
            for line, clears in itertools.product(lines, (True, False)):
                looks = attempt(lambda places=places, c=clears, line=line: {place: Look(line, c) for place in places})
                if looks is not None:
                    yield Flush(own=own, post=post), looks


def source(flush, looks):
    """The file of a policy that answers so."""
    post = flush.post and f"Post({flush.post.line}, {flush.post.how})"
    functions = [f"def flush():\n    return Flush(own={flush.own}, post={post})"]
    functions += [f"def {place}():\n    return Look({look.line}, {look.clears})" for place, look in looks.items()]
    return "from sim.abi import *\n\n" + "\n\n".join(functions) + "\n"


def test_each_look_at_a_note_is_refused_or_gives_numbers(tmp_path, parameters):
    accepted = []
    for flush, looks in looked_at():
        if attempt(lambda f=flush, at=looks: check_policy(policy(flush=f, **at)) or True):
            accepted.append((flush, looks))
    accepted = [each for number, each in enumerate(accepted) if each not in accepted[:number]]
    global_looks = 2**4 - 2**2 - 1  # some of four places, not both a switch and the migration that is one
    without_entries = 2**3 - 2 - 1  # some of the three others
    assert len(accepted) == 2 * (1 + 3 * global_looks + 1 + 3 * without_entries)
    for number, (flush, looks) in enumerate(accepted):
        (tmp_path / f"p{number}.py").write_text(source(flush, looks))
    use_policies(str(tmp_path))
    try:
        for number, (flush, looks) in enumerate(accepted):
            p = parameters("i5_3550", **SHORT, kernel_entries_per_s=2e4, sockets=2)
            r = {name: value[0, 0] for name, value in simulate(policy=f"p{number}", **p).items()}
            assert np.isfinite(r["system_time_s"]), (flush, looks)
            if not looks:
                assert r["stale_window_ns"] == np.inf or flush.own is Own.BEFORE
                continue
            # A look that finds the note set at once: the window is no longer than the looks are apart.
            assert 0 < r["stale_window_ns"] < np.inf
            assert r["switch_s"] > 0
            if set(looks) == {"tick"}:
                assert r["stale_window_p99_ns"] <= 1e9 / p["tick_hz"]
    finally:
        use_policies(None)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "no flush"),
        ({"flush": "everything"}, r"flush\(\) returns 'everything': must be a Flush"),
        ({"flush": Flush(own=Own.BEFORE), "tick": Look(Line.GLOBAL)}, r"tick\(\) looks at a note, and .* leaves none"),
        ({"flush": Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN))}, "nobody looks at it"),
        (
            {"flush": Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN)), "tick": Look(Line.PER_CPU)},
            "looks at Line.PER_CPU, and .* posts on Line.GLOBAL",
        ),
        (
            {"flush": Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN)), "tick": Look(Line.GLOBAL, False)},
            "generation",
        ),
        (
            {"flush": Flush(own=Own.BEFORE, post=Post(Line.TASK, How.PLAIN)), "tick": Look(Line.TASK)},
            "only by migration",
        ),
        ({"flush": Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN)), "tick": "now"}, "must be a Look"),
        ({"flush": Flush(own=Own.BEFORE), "BUILD": 1}, "BUILD=.*: must be True or False"),
    ],
)  # fmt: skip
def test_what_no_machine_models_is_refused_in_a_sentence(answers, said):
    with pytest.raises((ValueError, TypeError), match=said):
        check_policy(policy(**answers))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (lambda: Flush(own="before"), "own='before': must be a Own"),
        (lambda: Flush(own=Own.BEFORE, post=Line.GLOBAL), "post=.*: must be a Post or None"),
        (lambda: Flush(own=Own.BEFORE, mutex=1), "mutex=1: must be a bool"),
        (lambda: Post("line", How.PLAIN), "line='line': must be a Line"),
        (lambda: Look(How.PLAIN), "must be a Line"),
    ],
)
def test_words_of_another_kind_are_refused(words, said):
    with pytest.raises(TypeError, match=said):
        words()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("kernel_exit", "kernel_entry"),
        ("Switch_to_user", "switch_to_user"),
        ("event", "events"),
        ("on_migration", "migration"),
        ("ticks", "tick"),
    ],
)
def test_a_misspelled_function_of_a_policy_is_refused(tmp_path, name, meant):
    text = source(Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN)), {"switch_to_user": Look(Line.GLOBAL)})
    (tmp_path / "mine.py").write_text(text + f"\ndef {name}():\n    return Look(Line.GLOBAL)\n")
    (tmp_path / "helped.py").write_text(text + f"\nfrom itertools import chain\n\ndef _{name}():\n    return 1\n")
    use_policies(str(tmp_path))
    try:
        with pytest.raises(ValueError, match=rf"{name}\(\) is no function of a policy; did you mean {meant}\(\)\?"):
            simulate(policy="mine")
        with pytest.raises(TypeError, match="policy helped reads: cores"):
            simulate(policy="helped")
    finally:
        use_policies(None)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (7, "must be Events"),
        (Events(np.ones(2), (1,), np.ones((1, 1))), "kunmap is float64"),
        (Events(np.ones(1), (1, 2), np.ones((1, 1))), r"must be numbers of shape \(2, 1\)"),
        (Events(-np.ones(1), (1,), np.ones((1, 1))), "below 0"),
        (Events(np.ones(1), (1,), np.full((1, 1), np.nan)), "below 0 or none at all"),
        (Events(np.ones(1), (), np.ones((0, 1))), "pages"),
        (Events(np.ones(1), (0.5,), np.ones((1, 1))), "pages"),
        (Events(np.array(["many"]), (1,), np.ones((1, 1))), "kunmap is <U4"),
    ],
)
def test_events_that_are_none_are_refused(events, said):
    with pytest.raises((ValueError, TypeError), match=said):
        check_events(events, 1)


def test_events_of_whole_numbers_are_events():
    checked = check_events(Events(np.ones(1, dtype=np.int32), (1,), np.ones((1, 1), dtype=">f4")), 1)
    assert checked.kunmap.dtype == checked.alloc.dtype == np.float64
