"""The origin of each parameter of a point: the command line, the grid, a file, a draw, or other quantities.

It describes in words the arrays of `sweep.plan.points`. The values are those of the plan; a test compares them with
their origins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS
from sim.quantities import DERIVING, INSTRUCTION_COSTS, LARGE_RANGE
from sweep.inputs.catalog import CORE, Entry, origin
from sweep.inputs.costs import REPRESENTATIVE, Costs, draw_values, uncertain
from sweep.plan.grid import Block, Relative
from sweep.plan.open import Composition, with_tables
from sweep.plan.plan import Plan
from sweep.plan.points import CONTROLS, NAMES, is_known

ANY = "any"  # owner of the kernel's costs
NOT_GIVEN = "not given"


@dataclass(frozen=True)
class Piece:
    """A number, or a mix of ranges, as a part of a parameter."""

    name: str  # of a quantity or parameter; empty for the parameter itself
    value: Any
    origin: str


@dataclass(frozen=True)
class Origin:
    """A parameter of a point: its value, as simulated, and its origin."""

    name: str
    value: Any  # None: not given
    unit: str
    origin: str  # of a parameter used as given; empty if it is derived
    made_of: tuple[Piece, ...] = ()  # factors of a number; of `range_pages` the mix, and the share of large ranges


def origins(asked: Composition, plan: Plan, number: int) -> list[Origin]:
    """Names, controls and every parameter of a point of the plan, in the model's order."""
    at = _Point(asked, plan, number)
    names = [Origin(name, at.columns[name][0], "name", at.say(name)) for name in NAMES]
    drawn = f"one of {plan.draws} cost samples" if at.draw != REPRESENTATIVE else "representative cost sample"
    names.append(Origin("draw", at.draw, "1", drawn))
    controls = {"seed": plan.seed, "replicas": plan.replicas}
    names += [Origin(name, controls[name], "1", at.say(name)) for name in CONTROLS]
    return [*names, *(at.origin(name) for name in PARAMETERS if name not in CONTROLS)]


class _Point:
    """One point of a plan, with all sources of its quantities."""

    def __init__(self, asked: Composition, plan: Plan, number: int) -> None:
        space = plan.space
        self.asked = asked
        self.columns = plan.columns(number, number + 1)
        which, block, index = _find(space.blocks, number)
        self.given = {name: values[0] for name, (values, _) in block.columns(np.array([index])).items()}
        self._of_grid = {*self.given, *_names(with_tables(asked, f"grid/{asked.grid}"), which)} - {"draw"}
        self.defaults = {**asked.defaults, **space.defaults}
        self.machine = space.machines[self.columns["machine"][0]]
        self.workload = space.workloads[self.columns["workload"][0]]
        self.costs = space.costs.get(self.columns["costs"][0], Costs(self.columns["costs"][0]))
        self.draw = int(self.columns["draw"][0])
        self.quantities = origin(self.machine, self.workload)
        drawn = draw_values(self.costs, self.machine, self.workload, clock_scale=False)
        self.drawn = {name: values[self.draw] for name, values in drawn.items()}

    def say(self, name: str) -> str:
        """The source of a name or quantity, in words."""
        if name in self.asked.pinned:
            return "command line"
        if name in self._of_grid:
            return f"grid {self.asked.grid}"
        if name in self.drawn:
            return self._draw_of(uncertain(self.machine, self.workload)[name][0])
        if name in self.quantities:
            return _entry(self.machine, self.workload, name)
        if name in self.defaults:
            return "default (config.yaml)"
        return "default of the model" if name in PARAMETERS and PARAMETERS[name].default is not None else NOT_GIVEN

    def origin(self, name: str) -> Origin:
        """A parameter with its value and its parts."""
        unit = PARAMETERS[name].unit
        value = self.columns[name][0] if name in self.columns else None
        if not is_known(value):
            value = PARAMETERS[name].default
            return Origin(name, value, unit, self.say(name) if is_known(value) else NOT_GIVEN)
        first, *others = self._pieces(name)
        pieces = (first, *(piece for piece in others if piece.value != 1.0))  # a factor of one is left out
        return (
            Origin(name, value, unit, pieces[0].origin) if len(pieces) == 1 else Origin(name, value, unit, "", pieces)
        )

    def _pieces(self, name: str) -> tuple[Piece, ...]:
        """The parts of a parameter; one piece if it is used as given."""
        given = self.given.get(name)
        first: tuple[Piece, ...]
        if isinstance(given, Relative):
            of = self.columns[given.of][0] if given.of in self.columns else self._value(given.of)
            first = (Piece("", given.factor, self.say(name)), Piece(given.of, of, self.say(given.of)))
        else:
            first = (Piece("", self._value(name), self.say(name)),)
        if name in INSTRUCTION_COSTS:
            return (*first, *self._clocks(name))
        if name == "user_s":
            return (*first, *self._known("user_s_over_xeon"))
        if name == "alloc_events" and not is_known(self._value(name)):
            return (*self._known("kunmap_events"), *self._known("alloc_per_kunmap"))
        return (*first, *self._known("large_range_share")) if name == "range_pages" else first

    def _clocks(self, name: str) -> tuple[Piece, ...]:
        """The clock that multiplies a cost: the user's; else, unless the cost is given, the draw's or the machine's."""
        if "clock_scale" in self.given:
            return self._known("clock_scale")
        if name in self.given:
            return ()
        owner = self.machine.origin("clock_scale")
        drawn = self.costs.column(f"{owner}/clock_scale")
        if drawn is None or name not in self.drawn:
            quantity = self.quantities.get("clock_scale")
            return () if quantity is None else (Piece("clock_scale", quantity[1].central, f"machine {owner}"),)
        return (Piece("clock_scale", float(drawn[self.draw]), self._draw_of(owner)),)

    def _known(self, name: str) -> tuple[Piece, ...]:
        value = self._value(name)
        return (Piece(name, value, self.say(name)),) if is_known(value) else ()

    def _value(self, name: str) -> Any:
        """A quantity itself; None if it is not given."""
        for source in (self.given, self.drawn):
            if name in source:
                return source[name]
        return self.quantities[name][1].central if name in self.quantities else self.defaults.get(name)

    def _draw_of(self, owner: str) -> str:
        return f"draw {self.draw} of {'all machines' if owner == ANY else owner}"


def _find(blocks: tuple[Block, ...], number: int) -> tuple[int, Block, int]:
    """The block of a point, and its index there."""
    for which, block in enumerate(blocks):
        if number < block.points:
            return which, block, number
        number -= block.points
    raise IndexError(number)


def _names(content: Mapping[str, Any], which: int) -> set[str]:
    """Every key of a grid's content for a block, including defaults."""
    blocks = content.get("blocks") or [{}]
    found: set[str] = set()
    for holder in (content, blocks[which]):
        zips = holder.get("zip") or []
        for tied in (holder, *(zips if isinstance(zips, list) else [zips])):
            found |= {str(name) for name in tied}
    return found & {*NAMES, *CONTROLS, *PARAMETERS, *DERIVING}


def _entry(machine: Entry, workload: Entry, name: str) -> str:
    """The file of a quantity."""
    if name in workload.machines.get(machine.name, {}):
        return f"workload {workload.origin('machines')} on {machine.name}"
    if name in workload.quantities:
        return f"workload {workload.origin(name)}"
    owner = machine.origin(name)
    return owner if owner.endswith(f" {CORE}") else f"machine {owner}"


def in_words(value: Any) -> str:
    """A value as it is shown."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(f"{pages}: {weight:.6g}" for pages, weight in value)
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def how_made(each: Origin) -> str:
    """The origin or the parts of a parameter, in words."""
    if not each.made_of:
        return each.origin
    said = [f"{piece.name} {in_words(piece.value)} ({piece.origin})".lstrip() for piece in each.made_of]
    if each.name == "range_pages":
        return f"{said[0]}; of it above {LARGE_RANGE} pages: {said[1]}"
    return " x ".join(said)
