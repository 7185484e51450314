"""Small changes of the code that some test should notice: `python -m tests.mutations [PART ...] [--each N] [--seed N]`.

Cosmic Ray makes the changes one at a time, in a copy of the tree: another operator, a number one more or less, a
condition turned round. The tests that run the changed line are run, until one fails. A line is printed for each change
that none noticed, and each part ends with counts. A change that alters nothing a test could see survives rightly. Tests
of the code's hash are left out, since they notice every change. It needs `pip install cosmic-ray pytest-cov`.
"""

import argparse
import itertools
import os
import random
import re
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import parso  # noqa: F401  # before cosmic_ray, which imports parts of it in a circle
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import MutationSpec, TestOutcome
from coverage import CoverageData

ROOT = Path(__file__).resolve().parent.parent
TESTS = {  # of each part, the files of tests that should notice, quick ones first
    "sim/accounting.py": "policies engine beside loop lines legal",
    "sim/deferral.py": "policies engine beside lines loop legal",
    "sweep/tables": "surface answer bands coordinates runs inspection validation",
    "sweep/inputs": "catalog costs door home grid loop validation calibrate",
    "sweep/plan": "grid coordinates point own_policies inspection notebook costs",
    "sweep/store": "folder runs watch failed_points store",
    "sweep/calibrate": "calibrate",
}
OPTIONS = "-n0 -x -q -pno:cacheprovider -m 'not long and not browser' -k 'not test_ray_gives'"
PYTEST = [sys.executable, "-m", "pytest", *shlex.split(OPTIONS)]
MOST = 40  # tests that are named one by one
OPERATORS = re.compile(
    "core/(NumberReplacer|AddNot|Replace(AndWithOr|OrWithAnd|TrueWithFalse|FalseWithTrue|ContinueWithBreak)"
    "|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|Pow_Mul|FloorDiv_Div|Mod_FloorDiv|BitAnd_BitOr)"
    "|ReplaceComparisonOperator_(Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is)"
    "|ReplaceUnaryOperator_(USub_UAdd|Invert_Delete|Delete_Not))"
)  # one or two changes for each place


def mutations(part: Path) -> Iterator[MutationSpec]:
    """Every change of a module, or of all modules of a folder."""
    for path in sorted(part.rglob("*.py")) if part.is_dir() else [part]:
        nodes = list(ast_nodes(get_ast_from_path(path)))
        for name in filter(OPERATORS.match, operator_names()):
            places = itertools.chain.from_iterable(map(get_operator(name)().mutation_positions, nodes))
            for occurrence, (start, end) in enumerate(places):
                yield MutationSpec(path, name, occurrence, start, end)


def noticing(part: str, files: list[str]) -> dict[str, dict[int, list[str]]]:
    """By file and line of a part, the tests that run it: a whole file of tests where what they share does."""
    about = ["--cov", part.partition("/")[0], "--cov-context=test", "--cov-report="]  # a folder: a module is imported
    outcome, output = run_tests(shlex.join([*PYTEST, *about, *files]), 3600.0)
    if outcome is not TestOutcome.SURVIVED:
        raise SystemExit(f"{part}: its tests fail where nothing is changed:\n{output}")
    data = CoverageData()
    data.read()
    found: dict[str, dict[int, list[str]]] = {}
    for path in data.measured_files():
        by_line = found.setdefault(os.path.relpath(path), {})
        for line, contexts in data.contexts_by_lineno(path).items():
            names = {(each.partition("[")[0], each.rpartition("|")[2]) for each in contexts if each}
            names = {(name.partition("|")[0], when) for name, when in names}  # a test; setup, run or teardown
            whole = {name.partition("::")[0] for name, when in names if when != "run" or len(names) > MOST}
            few = {name for name, _ in names if name.partition("::")[0] not in whole}
            whole |= set() if names else set(files)
            by_line[line] = sorted(whole | few, key=lambda name: files.index(name.partition("::")[0]))
    return found


def tried(part: str, count: int, seed: int) -> None:
    """Changes of a part by what its tests made of them; those that nobody noticed are printed."""
    files = [f"tests/test_{name}.py" for name in TESTS[part].split()]
    tests = noticing(part, files)
    found: Counter[str] = Counter()
    every = list(mutations(Path(part)))
    for mutation in random.Random(seed).sample(every, min(count, len(every))):
        by_line, line = tests.get(str(mutation.module_path), {}), mutation.start_pos[0]
        near = next((by_line[at] for at in range(line, 0, -1) if at in by_line), files)
        result = mutate_and_test([mutation], shlex.join([*PYTEST, *near]), 150.0)
        ended = "timed out" if result.output == "timeout" else str(result.test_outcome.value)
        found[ended] += 1
        if ended != TestOutcome.KILLED.value:
            lines = [line for line in result.diff.splitlines() if re.match(r"[+-](?![+-])", line)]
            before, after = ("; ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
            print(f"{ended}: {mutation.module_path}:{line}: {before}  ->  {after}", flush=True)
    print(f"{part}: {', '.join(f'{number} {name}' for name, number in found.items())}; of {len(every)}", flush=True)


def main() -> None:
    """Try changes of some parts, or of all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=list(TESTS), metavar="PART", help=", ".join(TESTS))
    parser.add_argument("--each", type=int, default=40, help="changes of each part that are tried; default 40")
    parser.add_argument("--seed", type=int, default=1, help="which of them are drawn; default 1")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(TESTS):
        parser.error(f"{', '.join(sorted(unknown))}: must be of {', '.join(TESTS)}")
    with tempfile.TemporaryDirectory(prefix="mutations-") as copy:
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "outputs", "__pycache__"), dirs_exist_ok=True)
        os.chdir(copy)
        for part in given.parts:
            tried(part, given.each, given.seed)


if __name__ == "__main__":
    main()
