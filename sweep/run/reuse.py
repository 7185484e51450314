"""Points of an older run reused in a new one, by content.

A point's key is a hash of all inputs of its rows: policy and parameters as simulated, seed, and the code, which must be
the same. Names of machine and workload, index and chunk are no part of it: equal numbers give equal results. A replica
depends on its number only, so a run with more replicas includes those of one with fewer.
"""

import hashlib
from contextlib import suppress
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sim import METRICS
from sweep.errors import BadInput
from sweep.plan.code import code_hash
from sweep.plan.plan import Plan
from sweep.store.folder import Folder
from sweep.store.parts import committed, read_part_of
from sweep.store.rows import PARAMETER_COLUMNS, Points, columns_of, to_table
from sweep.store.run_json import read_run

KEYED = ("policy", *PARAMETER_COLUMNS)


class Old:
    """The parts of an older run by the content of their points; memory is some 200 bytes a point."""

    def __init__(self, folder: Folder, plan: Plan) -> None:
        where = f"reuse={folder}"
        try:
            run = read_run(folder)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None
        seed, replicas = run["points"]["seed"], run["points"]["replicas"]
        numpy = run.get("versions", {}).get("numpy")
        for name, there, here in (
            ("code", run["code"], code_hash(plan.policy_path)),
            ("seed", seed, plan.seed),
            ("numpy", numpy, version("numpy")),
        ):
            if there != here:
                raise BadInput(f"{where}: has {name} {str(there)[:12]}, not {str(here)[:12]}")
        if replicas < plan.replicas:
            raise BadInput(f"{where}: has {replicas} replicas of each point: must have at least {plan.replicas}")
        self._plan = plan
        self.taken = 0
        self._part = lru_cache(maxsize=4)(partial(read_part_of, folder, run["plan"], replicas=replicas))
        self._at: dict[bytes, tuple[int, int]] = {}  # chunk and row of each point's first replica
        for chunk in committed(folder):
            with suppress(OSError, KeyError, ValueError, BadInput):  # a broken part, or one of another run
                table = self._part(chunk)
                good = pc.and_(pc.equal(table["replica"], 0), pc.equal(table["status"], "ok"))
                rows = np.flatnonzero(good.to_numpy())
                self._at |= zip(_keys(table.take(rows)), ((chunk, row) for row in rows.tolist()), strict=True)

    def find(self, chunk: int) -> pa.Table | None:
        """Rows of this chunk with the metrics of the older run; None if it has none of them."""
        plan = self._plan
        points: Points = range(int(plan.chunks[chunk]), int(plan.chunks[chunk + 1]))
        blank = {name: np.full((len(points), plan.replicas), np.nan) for name in METRICS}
        keys = _keys(
            to_table(plan, points, columns_of(plan, points), blank).take(np.arange(len(points)) * plan.replicas)
        )
        there = np.array([place for place, key in enumerate(keys) if key in self._at], dtype=int)
        if not len(there):
            return None
        at = np.array([self._at[keys[place]] for place in there])
        metrics = {name: np.empty((len(there), plan.replicas)) for name in METRICS}
        for old_chunk in np.unique(at[:, 0]):
            table = self._part(int(old_chunk))
            members = np.flatnonzero(at[:, 0] == old_chunk)
            rows = at[members, 1][:, None] + np.arange(plan.replicas)  # [point, replica]
            for name in METRICS:
                metrics[name][members] = table[name].to_numpy()[rows]
        points = there + points[0]
        self.taken += len(points)
        return to_table(plan, points, columns_of(plan, points), metrics)


def _keys(table: pa.Table) -> list[bytes]:
    """The key of every row."""
    text = [name for name in KEYED if table.schema.field(name).type == pa.string()]
    numbers = np.stack([table[name].to_numpy() for name in KEYED if name not in text], axis=1) + 0.0  # no -0.0
    numbers[np.isnan(numbers)] = np.nan  # one NaN
    words = zip(*(table[name].to_pylist() for name in text), strict=True)
    rows = zip(numbers, words, strict=True)
    return [hashlib.sha256(row.tobytes() + repr(word).encode()).digest()[:16] for row, word in rows]
