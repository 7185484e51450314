"""One chunk of a plan: points in, an Arrow table of parameters and metrics out, a row per point and replica.

A failed point is a row too: NaN metrics, and a status with the reason. Its traceback is in the table's metadata,
without paths of the machine. Only an error of the model or a policy about these parameters is a point's own failure.
All others (a signal, no memory, a damaged file) are errors of the process, and raised.
"""

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sim import PARAMETERS, simulate
from sweep.plan.columns import is_constant
from sweep.plan.plan import Plan
from sweep.store.rows import Points, columns_of, failed_rows, join_tables, to_table

OF_THE_MODEL = (ArithmeticError, TypeError, ValueError)
MOST_CHARACTERS = 4000  # of an error's text, and of its traceback: a chunk may have 100,000 of them


def compute(plan: Plan, points: Points) -> pa.Table:
    """Simulate these points; if one of them fails, halves are tried, down to that point.

    A point's result does not depend on other points, so the halves give the same rows.
    """
    try:
        columns = columns_of(plan, points)
        parameters: dict[str, Any] = {name: column for name, column in columns.items() if name in PARAMETERS}
        parameters["policy"] = columns["policy"]
        first, same_as = _equal_points(parameters, len(points))
        parameters = {name: column[first] for name, column in parameters.items()}
        parameters |= {"policy": parameters["policy"].tolist(), "seed": plan.seed, "replicas": plan.replicas}
        metrics = simulate(**parameters, engine=plan.engine, policies=plan.policies)
        metrics = {name: values[same_as] for name, values in metrics.items()}
    except BaseException as error:
        if not _is_of_a_point(plan, error):
            raise
        if len(points) == 1:
            said = _shortened(f"{type(error).__name__}: {error}")
            return failed_rows(plan, int(points[0]), said, _shortened(_trace(error)))
        middle = len(points) // 2
        return join_tables([compute(plan, half) for half in (points[:middle], points[middle:])])
    return to_table(plan, points, columns, metrics)


def _equal_points(parameters: dict[str, Any], points: int) -> tuple[np.ndarray, np.ndarray]:
    """The first of each set of points with equal parameters, [distinct], and the set of each point, [point].

    Two values of an axis may mean the same, as `jobs=[4, "1 x cores"]` does on 4 CPUs.
    """
    bits = [np.zeros(points, np.int64)]
    for column in parameters.values():
        if is_constant(column):
            continue
        if column.dtype == object:
            known: dict[str, int] = {}
            column = np.array([known.setdefault(repr(value), len(known)) for value in column.tolist()])
        bits.append(column.astype(np.float64).view(np.int64))
    rows = np.stack(bits, axis=1).view(np.dtype((np.void, 8 * len(bits)))).reshape(-1)
    _, first, same_as = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)  # that of the points
    return first[order], np.argsort(order)[same_as]


def _is_of_a_point(plan: Plan, error: BaseException) -> bool:
    """Whether the model, or a policy, raised the error about the parameters: then every process would.

    An error of a policy itself is a point's, `SystemExit` too. An error of a signal's handler while a policy runs is
    not.
    """
    if isinstance(error, OF_THE_MODEL):
        return True
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)[1:]]
    code = [getattr(policy.events, "__code__", None) for policy in plan.policies.values()]
    of_policies = {each.co_filename for each in code if each is not None}
    if isinstance(error, Exception) and not isinstance(error, MemoryError):
        return not of_policies.isdisjoint(files)
    return bool(files) and files[-1] in of_policies and not isinstance(error, MemoryError)


def _shortened(text: str) -> str:
    """A text without its middle, if it is long."""
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters ... {text[-half:]}"


def _trace(error: BaseException) -> str:
    """The traceback below this module, with files relative to the package's folder: the same text on any machine."""
    root = Path(__file__).resolve().parent.parent.parent
    lines = []
    for frame in traceback.extract_tb(error.__traceback__)[1:]:
        path = Path(frame.filename)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        lines.append(f"  {name}:{frame.lineno} in {frame.name}: {frame.line}\n")
    return "".join(lines) + "".join(traceback.format_exception_only(error))
