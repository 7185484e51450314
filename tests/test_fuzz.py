"""A short seed of the fuzzer: no traceback, nothing left behind."""

from tests import fuzz


def test_no_input_is_without_an_answer():
    assert fuzz.fuzz(200, seed=1) == {}


def test_the_fuzzer_sees_a_traceback_and_a_leftover(monkeypatch):
    def broken(arguments):
        (fuzz.Path.cwd() / "left").write_text("x")
        raise KeyError("x")

    monkeypatch.setattr(fuzz, "attempt", broken)
    wrong = fuzz.fuzz(3, seed=1)
    assert sum(wrong.values()) == 3
    assert next(iter(wrong)).startswith("KeyError")
