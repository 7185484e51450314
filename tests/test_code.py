"""The plan's hash covers the code that makes the numbers, wherever it stands, and nothing else."""

import re
import shutil
import tempfile
from pathlib import Path

import pytest

from sweep.plan import code
from sweep.plan.code import ROOT, code_hash, parsed_hash

SWEEP = ("sweep/plan/points.py", "sweep/plan/columns.py", "sweep/plan/grid.py", "sweep/inputs/costs.py")


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Where answers are kept: a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code_hash.cache_clear()
    yield tmp_path / "cache" / "xpfo-sweep"
    code_hash.cache_clear()


@pytest.fixture
def copy(tmp_path):
    """Copies of both trees, to change."""
    for name in ("sim", "sweep"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "conf"))
    return tmp_path


def changed(root: Path, name: str, old: str, new: str) -> str:
    """The hash after a change of one file, which is undone."""
    path = root / name
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{name} holds no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    code_hash.cache_clear()
    found = code_hash(root=root)
    path.write_text(text, encoding="utf-8")
    return found


def test_a_copy_has_the_hash_of_the_original(copy):
    assert code_hash(root=copy) == code_hash()


@pytest.mark.parametrize("name", ["sim/simulation.py", "sim/topology.py", *SWEEP])
def test_comments_docstrings_and_layout_are_free(copy, name):
    before = code_hash(root=copy)
    first = (copy / name).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith('"""')
    assert changed(copy, name, first, first[:3] + "Another word. " + first[3:]) == before
    assert changed(copy, name, "\nfrom ", "\n# a comment\n\n\nfrom ") == before
    assert changed(copy, name, "    return ", "    return  \\\n        ") == before


def again(monkeypatch, **given) -> tuple[str, int]:
    """The hash as another process asks for it, and how often code was parsed for that."""
    parsed: list[str] = []

    def counted(*arguments):
        parsed.append(parsed_hash(*arguments))
        return parsed[-1]

    monkeypatch.setattr(code, "parsed_hash", counted)
    code_hash.cache_clear()
    return code_hash(**given), len(parsed)


def test_what_is_kept_is_what_parsing_gives(kept, copy, monkeypatch):
    right = parsed_hash()
    assert [again(monkeypatch) for _ in range(2)] == [(right, 1), (right, 0)]
    (entry,) = kept.iterdir()
    assert entry.stat().st_mode & 0o022 == 0
    assert again(monkeypatch, root=copy) == (right, 0)  # the same bytes elsewhere
    (copy / "sim" / "engine.py").write_text("BATCHES = 16\n", encoding="utf-8")
    assert again(monkeypatch, root=copy) == (parsed_hash(root=copy), 1)
    (copy / "mine").mkdir()
    (copy / "mine" / "mine.py").write_text("X = 1\n", encoding="utf-8")
    own = str(copy / "mine")
    assert [again(monkeypatch, policy_path=own) for _ in range(2)] == [(parsed_hash(own), 1), (parsed_hash(own), 0)]


@pytest.mark.parametrize("spoil", ["empty", "half", "digit", "not_text", "folder", "writable", "of_other_bytes"])
def test_a_damaged_entry_is_not_believed(kept, monkeypatch, spoil):
    right, _ = again(monkeypatch)
    (entry,) = kept.iterdir()
    content = entry.read_bytes()
    damaged = {"empty": b"", "half": content[:64], "digit": content.replace(right[:1].encode(), b"x", 1)}
    damaged |= {"not_text": b"\xff" * 129, "of_other_bytes": f"{right} {code._seal('other', right)}".encode()}
    if spoil == "folder":
        entry.unlink()
        entry.mkdir()
    elif spoil == "writable":
        entry.chmod(0o666)
    else:
        entry.write_bytes(damaged[spoil])
    assert again(monkeypatch) == (right, 1)
    assert again(monkeypatch) == (right, int(spoil == "folder"))  # made again, where that can be


def test_without_a_cache_of_ones_own_code_is_parsed(kept, monkeypatch):
    right, _ = again(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(kept / "no folder"))
    kept.chmod(0o777)
    assert again(monkeypatch) == (right, 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept / "file"))
    kept.chmod(0o700)
    (kept / "file").write_text("")
    assert again(monkeypatch) == (right, 1)


FORMULAS = [
    (
        "sweep/plan/points.py",
        "partial(np.multiply, value.factor)",
        "partial(np.add, value.factor)",
    ),  # a value that follows another
    ("sim/quantities.py", "LARGE_RANGE = 33", "LARGE_RANGE = 34"),  # parameters made from quantities
    ("sweep/plan/columns.py", "one_value(column", "one_value_of(column"),
    ("sweep/plan/grid.py", "self.last * k", "self.last + k"),  # a point decoded from its index
    ("sweep/inputs/costs.py", "np.where(values == 0", "np.where(values == 1"),  # the draws of costs
    ("sweep/inputs/prior.py", "1.6448536269514722", "1.645"),  # the priors
    ("sim/batch_means.py", "BATCHES = 32", "BATCHES = 16"),
    ("sim/policies/xpfo.py", "AFTER_ACKS", "AFTER_SENDS"),
]


@pytest.mark.parametrize(("name", "old", "new"), FORMULAS, ids=[name for name, _, _ in FORMULAS])
def test_a_changed_formula_moves_it(copy, name, old, new):
    assert changed(copy, name, old, new) != code_hash()


@pytest.mark.parametrize("name", ["sweep/report/page.py", "sweep/run/driver.py", "sweep/tables/replicas.py"])
def test_what_only_shows_numbers_is_no_part_of_it(copy, name):
    assert changed(copy, name, "\nfrom sweep", "\nimport os\nfrom sweep") == code_hash(root=copy)


def test_the_users_own_policies_are_part_of_it(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text('"""Mine."""\n\nX = 1\n', encoding="utf-8")
    hashes = []
    for text in ('"""Mine."""\n\nX = 1\n', '"""Yours."""\n\nX = 1  # one\n', '"""Mine."""\n\nX = 2\n'):
        own.write_text(text, encoding="utf-8")
        code_hash.cache_clear()
        hashes.append(code_hash(str(tmp_path)))
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[0] != code_hash()


def test_the_stamp_of_the_fitted_costs_names_this_code():
    stamp = (ROOT / "conf" / "costs" / "calibrated.yaml").read_text(encoding="utf-8")
    assert re.search(r"^code: (\w+)$", stamp, re.MULTILINE)[1] == code_hash()
