"""Each point of a sweep, decoded from its index: its names and the model's parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS
from sim.quantities import INSTRUCTION_COSTS
from sweep.errors import BadInput
from sweep.inputs.catalog import Entry, quantities_of
from sweep.inputs.costs import LITERATURE, Costs, draw_values
from sweep.plan.columns import constant, derive, pointwise
from sweep.plan.grid import Block, Coded, Relative, Span

NAMES = ("policy", "machine", "workload", "costs")
CONTROLS = [name for name, parameter in PARAMETERS.items() if parameter.per_sweep]


@dataclass(frozen=True)
class Space:
    """The index space of a sweep: blocks of axes, and the data behind their names and keys."""

    blocks: tuple[Block, ...]
    machines: Mapping[str, Entry]
    workloads: Mapping[str, Entry]
    defaults: Mapping[str, Any]  # names and parameters without an axis, machine or workload
    costs: Mapping[str, Costs] = field(default_factory=dict)  # by name; without any, literature's central values
    given_by: tuple[Mapping[str, str], ...] = ()  # the origin of each block's names, and of seed and replicas

    @property
    def points(self) -> int:
        """The number of points, which may be more than an array can index."""
        return sum(block.points for block in self.blocks)

    def columns(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """Names and model parameters of the points begin..end-1 as arrays, [point]."""
        parts, offset = [], 0
        for block in self.blocks:
            low, high = max(begin, offset), min(end, offset + block.points)
            if low < high:
                parts.append(self._quantities(block, np.arange(low - offset, high - offset)))
            offset += block.points
        if len(parts) == 1:
            return derive(parts[0])
        names = list(dict.fromkeys(name for part in parts for name in part))
        out = {}
        for name in names:
            unknown = [constant(_default(name), len(part["policy"])) for part in parts]
            out[name] = np.concatenate([part.get(name, nan) for part, nan in zip(parts, unknown, strict=True)])
        return derive(out)

    def block_columns(self, block: Block, index: np.ndarray) -> dict[str, np.ndarray]:
        """The same for some points of one block, by their index in it."""
        return derive(self._quantities(block, index))

    def _quantities(self, block: Block, index: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of names and quantities, before the model's parameters are derived from them."""
        points = len(index)
        given = block.columns(index)
        names, which = self._names(given)
        columns = {name: _spread(name, [each[at] for each in names], which, points) for at, name in enumerate(NAMES)}
        draw = _spread("draw", *given.pop("draw", ([0], None)), points).astype(np.int64)
        columns |= self._of_names(names, which, draw, own_clock="clock_scale" not in given)
        columns["draw"] = draw
        relative: dict[str, Coded] = {}
        values: Sequence[Any] | np.ndarray
        for name, (values, at) in given.items():
            if name in (*NAMES, *CONTROLS):
                continue
            if not isinstance(values, np.ndarray) and any(isinstance(value, Relative) for value in values):
                relative[name] = (values, at)
                values = [None if isinstance(value, Relative) else value for value in values]
            columns[name] = _spread(name, values, at, points)
        for name in in_order({name: relatives(values) for name, (values, _) in relative.items()}):
            values, at = relative[name]
            for number, value in enumerate(values):
                if isinstance(value, Relative):
                    if value.of not in columns:
                        raise BadInput(f"{name}={value}: needs {value.of}, which is not given")
                    followed = pointwise(partial(np.multiply, value.factor), columns[value.of])
                    columns[name] = followed if at is None else np.where(at == number, followed, columns[name])
        return columns

    def sources(
        self, machine: str, workload: str, costs: str, own_clock: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Quantities by name, each its central value or its draws, [draw]; and the clocks that multiply some of them.

        With `own_clock` instruction costs are at the clock of the machine, or of the draw, and costs of the user are
        simulated as given. Without, the user gives a clock, which multiplies all costs.
        """
        entries = self.machines[machine], self.workloads[workload]
        quantities = quantities_of(*entries)
        values = {name: quantity.central for name, quantity in quantities.items()}
        values |= draw_values(self.costs.get(costs, Costs(LITERATURE)), *entries)
        clock = values.pop("clock_scale", None)
        if clock is None or not own_clock:
            return values, {}
        own = quantities["clock_scale"].central  # a cost that is a plain number is not drawn, nor is its clock
        costs_here = [name for name in INSTRUCTION_COSTS if values.get(name) is not None]
        return values, {name: clock if isinstance(values[name], np.ndarray) else own for name in costs_here}

    def _of_names(
        self, names: Sequence[tuple[str, ...]], which: np.ndarray | None, draw: np.ndarray, own_clock: bool
    ) -> dict[str, np.ndarray]:
        """Columns of the quantities of machine, workload and costs, under each point's draw."""
        points = len(draw)
        central_values, by_draw = [], []  # for each of `names`: values of the first draw by name, and draws by name
        for _, machine, workload, costs in names:
            known, clocks = self.sources(machine, workload, costs, own_clock)
            known |= {name: known[name] * clock for name, clock in clocks.items()}
            drawn = {name: value for name, value in known.items() if isinstance(value, np.ndarray)}
            first = {name: value[draw[0]] for name, value in drawn.items()}
            central_values.append({**self.defaults, **known, **first})
            by_draw.append(drawn if (draw != draw[0]).any() else {})
        columns = {}
        for name in dict.fromkeys(name for central in central_values for name in central):
            if name not in (*NAMES, *CONTROLS):
                values = [central.get(name, _default(name)) for central in central_values]
                columns[name] = _spread(name, values, which, points)
        for number, of_draws in enumerate(by_draw):
            members = np.ones(points, dtype=bool) if which is None else which == number
            for name, by_row in of_draws.items():
                columns[name] = np.array(columns[name])
                columns[name][members] = by_row[draw[members]]
        return columns

    def _names(self, given: Mapping[str, Coded]) -> tuple[list[tuple[str, ...]], np.ndarray | None]:
        """The combinations of names, and the index of each point's, [point]; None if there is one."""
        combinations: list[tuple[str, ...]] = [()]
        which: np.ndarray | None = None
        for name in NAMES:
            values, at = given[name] if name in given else ([self.defaults[name]], None)
            if at is None:
                combinations = [(*names, values[0]) for names in combinations]
                continue
            pairs = at if which is None else which * len(values) + at
            used = np.flatnonzero(np.bincount(pairs))
            combinations = [(*combinations[pair // len(values)], values[pair % len(values)]) for pair in used.tolist()]
            which = np.searchsorted(used, pairs)
        return combinations, which


def _default(name: str) -> Any:
    """The value of a column for points without one: the parameter's default, or NaN."""
    default = PARAMETERS[name].default if name in PARAMETERS else None
    return np.nan if default is None else default


def is_known(value: Any) -> bool:
    """Whether a quantity has a value: neither None nor NaN."""
    return value is not None and value == value


def relatives(values: Sequence[Any] | np.ndarray) -> set[str]:
    """The keys that these values are relative to."""
    if isinstance(values, np.ndarray | Span | range):
        return set()
    return {value.of for value in values if isinstance(value, Relative)}


def in_order(needs: Mapping[str, set[str]]) -> list[str]:
    """Names in order of dependence; ValueError with the names of a circle."""
    ordered: list[str] = []
    waiting = {name: {of for of in among if of in needs} for name, among in needs.items()}
    while waiting:
        ready = [name for name, among in waiting.items() if not among - set(ordered)]
        if not ready:
            raise ValueError(" and ".join(waiting))
        ordered += ready
        waiting = {name: among for name, among in waiting.items() if name not in ready}
    return ordered


def _spread(name: str, values: Sequence[Any] | np.ndarray, which: np.ndarray | None, points: int) -> np.ndarray:
    """The column of a name, [point], from its values and the index of each point's; None becomes NaN."""
    first = values[0]
    text = name in NAMES or (name in PARAMETERS and not PARAMETERS[name].is_number)
    if which is None or all(value is first for value in values):
        return constant(first if text else np.nan if first is None else float(first), points)
    held = np.empty(len(values), dtype=object if text else float)
    for at, value in enumerate(values) if text else ():
        held[at] = value
    if not text:
        held[:] = values if isinstance(values, np.ndarray) else [np.nan if value is None else value for value in values]
    return held[which]
