"""One chunk of a plan: points in, an Arrow table of parameters and metrics out, a row per point and replica.

A point that cannot be simulated is a row too: NaN metrics, and a status that says why. Its traceback travels in the
table's metadata, without paths of the machine it ran on.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa

from sim import PARAMETERS, simulate
from sweep.plan.plan import Plan
from sweep.store.rows import Points, columns_of, failed_rows, join_tables, to_table

OF_A_POINT = (Exception, KeyboardInterrupt, SystemExit)  # a run's signals come as Stopped, so these are a point's own
Raised = type[BaseException] | tuple[type[BaseException], ...]


def compute(plan: Plan, points: Points, caught: Raised = OF_A_POINT) -> pa.Table:
    """Simulate these points; where that raises what is `caught`, halves are tried, down to the point that does it.

    A point's result does not depend on its company, so the halves are the rows the whole would have given.
    """
    try:
        columns = columns_of(plan, points)
        parameters: dict[str, Any] = {name: column for name, column in columns.items() if name in PARAMETERS}
        parameters |= {"policy": columns["policy"].tolist(), "seed": plan.seed, "replicas": plan.replicas}
        metrics = simulate(**parameters, engine=plan.engine, policies=plan.policies)
    except caught as error:
        if len(points) == 1:
            return failed_rows(plan, int(points[0]), f"{type(error).__name__}: {error}", _trace(error))
        middle = len(points) // 2
        return join_tables([compute(plan, half, caught) for half in (points[:middle], points[middle:])])
    return to_table(plan, points, columns, metrics)


def _trace(error: BaseException) -> str:
    """The traceback below this module, with files named from the package's folder: the same text on any machine."""
    root = Path(__file__).resolve().parent.parent.parent
    lines = []
    for frame in traceback.extract_tb(error.__traceback__)[1:]:
        path = Path(frame.filename)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        lines.append(f"  {name}:{frame.lineno} in {frame.name}: {frame.line}\n")
    return "".join(lines) + "".join(traceback.format_exception_only(error))
