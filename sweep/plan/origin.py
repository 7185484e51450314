"""The origin of each parameter of a point in words: the command line, the grid, a file, a draw, or other quantities."""

from typing import Any, NamedTuple

import numpy as np

from sim.parameters import PARAMETERS
from sim.quantities import DERIVING, LARGE_RANGE
from sweep.inputs.catalog import CORE, quantities_of
from sweep.inputs.costs import ANY, REPRESENTATIVE, owner_of
from sweep.plan.grid import Relative
from sweep.plan.plan import Plan
from sweep.plan.points import CONTROLS, NAMES, is_known

NOT_GIVEN = "not given"


class Piece(NamedTuple):
    """A number, or a mix of ranges, as a part of a parameter."""

    name: str  # of a quantity or parameter; empty for the parameter itself
    value: Any
    origin: str


class Origin(NamedTuple):
    """A parameter of a point: its value, as simulated, None if not given, and its parts.

    The parts are the factors of a number; of `range_pages` the mix, and the share of large ranges.
    """

    name: str
    value: Any
    pieces: tuple[Piece, ...]


def origins(plan: Plan, number: int) -> list[Origin]:
    """Names, controls and every parameter of a point of the plan, in the model's order."""
    point = _Point(plan, number)
    drawn = f"one of {plan.draws} cost samples" if point.draw != REPRESENTATIVE else "representative cost sample"
    shown = {name: (point.columns[name][0], point.say(name)) for name in NAMES} | {"draw": (point.draw, drawn)}
    shown |= {name: (value, point.say(name)) for name, value in zip(CONTROLS, (plan.seed, plan.replicas), strict=True)}
    names = [Origin(name, value, (Piece("", value, origin),)) for name, (value, origin) in shown.items()]
    return [*names, *(point.origin(name) for name in PARAMETERS if name not in CONTROLS)]


class _Point:
    """One point of a plan, with all sources of its quantities."""

    def __init__(self, plan: Plan, number: int) -> None:
        space = plan.space
        self.columns = plan.columns(number, number + 1)
        ends = np.cumsum([block.points for block in space.blocks])
        which = int(np.searchsorted(ends, number, side="right"))
        block = space.blocks[which]
        codes = block.columns(np.array([number - ends[which] + block.points]))
        self.given = {name: values[0] for name, (values, _) in codes.items()}
        self.given_by = space.given_by[which]
        self.defaults = space.defaults
        _, machine, workload, costs = (self.columns[name][0] for name in NAMES)
        self.machine, self.workload = space.machines[machine], space.workloads[workload]
        self.quantities = quantities_of(self.machine, self.workload)
        self.values, self.clocks = space.sources(machine, workload, costs, "clock_scale" not in self.given)
        self.draw = int(self.columns["draw"][0])

    def say(self, name: str) -> str:
        """The source of a name or quantity, in words."""
        if name in self.given_by:
            return self.given_by[name]
        if name in self.quantities:
            return self._file_or_draw(name, self.values.get(name))
        if name in self.defaults:
            return "default (config.yaml)"
        return "default of the model" if name in PARAMETERS and PARAMETERS[name].default is not None else NOT_GIVEN

    def origin(self, name: str) -> Origin:
        """A parameter with its value and its parts."""
        value = self.columns[name][0] if name in self.columns else None
        if not is_known(value):
            value = PARAMETERS[name].default
            return Origin(name, value, (Piece("", value, self.say(name) if is_known(value) else NOT_GIVEN),))
        first, *others = self._pieces(name)
        return Origin(name, value, (first, *(piece for piece in others if piece.value != 1.0)))

    def _pieces(self, name: str) -> list[Piece]:
        """The parts of a parameter; one piece if it is used as given."""
        pieces = [Piece("", self._value(name), self.say(name))]
        if isinstance(relative := pieces[0].value, Relative):
            of = self.columns[relative.of][0] if relative.of in self.columns else self._value(relative.of)
            pieces = [Piece("", relative.factor, self.say(name)), Piece(relative.of, of, self.say(relative.of))]
        elif name == "alloc_events" and not is_known(relative):
            pieces = [Piece("kunmap_events", self._value("kunmap_events"), self.say("kunmap_events"))]
        if name in self.clocks and name not in self.given:
            clock = self.clocks[name]
            pieces.append(Piece("clock_scale", self._at_draw(clock), self._file_or_draw("clock_scale", clock)))
        for factor, parameter in DERIVING.items():
            value = self._value(factor)
            taken = name != "alloc_events" or pieces[0].name == "kunmap_events"  # a given number comes first
            if name in parameter.makes and taken and is_known(value):
                pieces.append(Piece(factor, value, self.say(factor)))
        return pieces

    def _value(self, name: str) -> Any:
        """A quantity itself; None if it is not given."""
        sources = (self.given, self.values, self.defaults)
        return next((self._at_draw(source[name]) for source in sources if name in source), None)

    def _at_draw(self, value: Any) -> Any:
        return value[self.draw] if isinstance(value, np.ndarray) else value

    def _file_or_draw(self, name: str, value: Any) -> str:
        """The draw or the file of a quantity with this value."""
        quantity = self.quantities[name]
        owner = quantity.owner
        if isinstance(value, np.ndarray):
            owner = owner_of(name, quantity)
            return f"draw {self.draw} of {'all machines' if owner == ANY else owner}"
        if name in self.workload.machines.get(self.machine.name, {}):
            return f"workload {owner.removeprefix(f'{self.machine.name}+')} on {self.machine.name}"
        if name in self.workload.quantities:
            return f"workload {owner}"
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
    if len(each.pieces) == 1:
        return each.pieces[0].origin
    said = [f"{piece.name} {in_words(piece.value)} ({piece.origin})".lstrip() for piece in each.pieces]
    if each.name == "range_pages":
        return f"{said[0]}; of it above {LARGE_RANGE} pages: {said[1]}"
    return " x ".join(said)
