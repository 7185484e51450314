"""Points of an older run reused in a new one, by content.

A point's key is a hash of all inputs of its rows: policy and parameters as simulated, seed, and the code, which must be
the same. Names of machine and workload, index and chunk are no part of it: equal numbers give equal results. A replica
depends on its number only, so a run with more replicas includes those of one with fewer.
"""

import hashlib
from functools import lru_cache
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sim import METRICS
from sweep.errors import BadInput
from sweep.plan.code import code_hash
from sweep.plan.plan import Plan
from sweep.store.folder import Folder
from sweep.store.parts import check_footer, committed, part_name, verify
from sweep.store.rows import PARAMETER_COLUMNS, Points, columns_of, to_table
from sweep.store.run_json import read_run

KEYED = ("policy", *PARAMETER_COLUMNS)


class Old:
    """The parts of an older run by the content of their points; memory is some 24 bytes a point."""

    def __init__(self, folder: Folder, plan: Plan) -> None:
        where = f"reuse={folder}"
        try:
            run = read_run(folder)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from None
        seed, self._replicas = run["points"]["seed"], run["points"]["replicas"]
        numpy = run.get("versions", {}).get("numpy")
        for name, there, here in (
            ("code", run["code"], code_hash(plan.policy_path)),
            ("seed", seed, plan.seed),
            ("numpy", numpy, version("numpy")),
        ):
            if there != here:
                raise BadInput(f"{where}: has {name} {str(there)[:12]}, not {str(here)[:12]}")
        if self._replicas < plan.replicas:
            raise BadInput(f"{where}: has {self._replicas} replicas of each point: must have at least {plan.replicas}")
        self._folder = folder
        self._plan = plan
        self.taken = 0
        self._of, self._chunks = run["plan"], committed(folder)
        self._part = lru_cache(maxsize=4)(self._read)
        keys, at = [np.empty(0, "S16")], [np.empty((0, 2), np.int32)]
        for number in range(len(self._chunks)):
            table = self._read(number)
            if table is None:
                continue
            first = np.flatnonzero(table["replica"].to_numpy() == 0)
            good = pc.equal(table["status"], "ok").to_numpy(zero_copy_only=False)[first]
            keys.append(_keys(table.take(first[good])))
            at.append(np.stack([np.full(good.sum(), number), first[good]], axis=1).astype(np.int32))
        unsorted = np.concatenate(keys)
        order = np.argsort(unsorted, kind="stable")
        self._keys, self._at = unsorted[order], np.concatenate(at)[order]

    def _read(self, number: int) -> pa.Table | None:
        """A valid part of the old run; None for a broken part or one of another run."""
        try:
            table, found = verify(self._folder.read(part_name(self._chunks[number])))
            check_footer(table, found, self._chunks[number], self._of, self._replicas)
        except (OSError, KeyError, ValueError, BadInput):
            return None
        return table

    def find(self, chunk: int) -> pa.Table | None:
        """Rows of this chunk with the metrics of the older run; None if it has none of them."""
        plan = self._plan
        points: Points = range(int(plan.chunks[chunk]), int(plan.chunks[chunk + 1]))
        if not len(self._keys):
            return None
        blank = {name: np.full((len(points), plan.replicas), np.nan) for name in METRICS}
        keys = _keys(
            to_table(plan, points, columns_of(plan, points), blank).take(np.arange(len(points)) * plan.replicas)
        )
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        there = np.flatnonzero(self._keys[place] == keys)
        if not len(there):
            return None
        at = self._at[place[there]]
        metrics = {name: np.empty((len(there), plan.replicas)) for name in METRICS}
        for number in np.unique(at[:, 0]):
            table = self._part(int(number))
            assert table is not None, "it was read a moment ago"
            members = np.flatnonzero(at[:, 0] == number)
            rows = at[members, 1][:, None] + np.arange(plan.replicas)  # [point, replica]
            for name in METRICS:
                metrics[name][members] = table[name].to_numpy()[rows]
        points = there + points[0]
        self.taken += len(points)
        return to_table(plan, points, columns_of(plan, points), metrics)


def _keys(table: pa.Table) -> np.ndarray:
    """The key of every row, [row]."""
    text = [name for name in KEYED if table.schema.field(name).type == pa.string()]
    numbers = np.stack([table[name].to_numpy() for name in KEYED if name not in text], axis=1) + 0.0  # no -0.0
    numbers[np.isnan(numbers)] = np.nan  # one NaN
    words = zip(*(table[name].to_pylist() for name in text), strict=True)
    made = [
        hashlib.sha256(row.tobytes() + repr(word).encode()).digest()[:15] + b"."
        for row, word in zip(numbers, words, strict=True)
    ]  # numpy strips trailing zero bytes of its byte strings: no key ends in one
    return np.array(made, dtype="S16")
