"""A plan from the grid's content, the command line and the files, all checked before the start."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sim.reading import reads
from sweep.errors import BadInput
from sweep.inputs.catalog import Entry
from sweep.inputs.costs import LITERATURE, Costs, literature, posterior, priors
from sweep.inputs.measured import points_of
from sweep.plan.blocks import read_blocks
from sweep.plan.checks import check_keys, check_points
from sweep.plan.composition import MOST_POINTS, Composition
from sweep.plan.engine import choose_engine
from sweep.plan.grid import Axis, Block
from sweep.plan.plan import Plan
from sweep.plan.points import CONTROLS, Space

MOST_DRAWS = 65_536


def open_plan(asked: Composition, own_costs: Mapping[str, Costs] | None = None) -> Plan:
    """A checked plan; BadInput with key, value and allowed values.

    `own_costs` are costs whose draws are all used as the sweep's own.
    """
    where = f"grid/{asked.grid}"
    content, pinned = _with_tables(asked, where), dict(asked.pinned)
    defaults = {"costs": LITERATURE, **asked.defaults}
    of_grid = f"grid {asked.grid}"
    given_by = {name: "default (config.yaml)" for name in CONTROLS if name in defaults}
    given_by |= dict.fromkeys(content, of_grid)
    chosen = {name: _taken(name, pinned, content, defaults) for name in (*CONTROLS, "draws")}
    seed, replicas = (int(asked.check(name, chosen[name], where)) for name in CONTROLS)
    draws = 0 if chosen["draws"] is None else chosen["draws"]  # null on the command line disables a grid's draws
    if isinstance(draws, bool) or not isinstance(draws, int) or not 0 <= draws <= MOST_DRAWS:
        raise BadInput(f"{where}: draws={draws!r}: must be a whole number from 0 to {MOST_DRAWS}")
    defaults = {key: asked.check(key, value, "configuration") for key, value in defaults.items()}
    blocks = read_blocks(content, pinned, asked, where)
    cut = _check_size(asked, sum(block.points for block in blocks) * (draws + 1))
    of_user = dict.fromkeys(asked.pinned, "command line")
    by_block = tuple(given_by | dict.fromkeys(block.values, of_grid) | of_user for block in blocks)
    check_keys(blocks, pinned, defaults, asked.policies, where)
    machines = {name: asked.machines[name] for name in _used(blocks, "machine", defaults)}
    workloads = {name: asked.workloads[name] for name in _used(blocks, "workload", defaults)}
    policies = {name: asked.policies[name] for name in _used(blocks, "policy", defaults)}
    read = {name for policy in policies.values() for name in reads(policy)}
    known = priors(machines.values(), workloads.values(), read)
    costs = {
        name: literature(known, draws, seed) if name == LITERATURE
        else posterior(asked.costs[name], known, draws, seed)
        for name in _used(blocks, "costs", defaults)
    }  # fmt: skip
    costs |= own_costs or {}
    rows = max((len(each.values) for each in costs.values()), default=1)
    if rows > 1:
        axis = Axis(("draw",), (range(rows),))
        blocks = tuple(replace(block, axes=(*block.axes, axis)) for block in blocks)
    blocks = tuple(_without_defaults(block, defaults, [*machines.values(), *workloads.values()]) for block in blocks)
    space = Space(blocks, machines, workloads, defaults, costs, by_block)
    plan = Plan(
        asked.grid, asked.question, space, seed, replicas, asked.chunk_s, policies, asked.policy_path, rows - 1, cut
    )
    check_points(plan, where)
    return choose_engine(plan, asked.engine, asked.again)


def _with_tables(asked: Composition, where: str) -> dict[str, Any]:
    """The grid's content, with a block for each point of the measured tables that it predicts."""
    content = dict(asked.content)
    content.pop("answer", None)
    which = content.pop("validation", None)
    if which is not None:
        if "blocks" in content:
            raise BadInput(f"{where}: validation and blocks: must be one of the two, since tables make blocks")
        content["blocks"] = points_of(asked.measured.choose(which))
    return content


def _check_size(asked: Composition, points: int) -> tuple[int, int] | None:
    """The cut; BadInput if it has more points than the limit."""
    if points > MOST_POINTS:
        raise BadInput(f"{asked.grid}: {points:.3g} points: must be at most {MOST_POINTS:g}")
    cut = None if asked.points is None else _cut(asked.points, points)
    left = points if cut is None else cut[1] - cut[0]
    if left > asked.max_points:
        raise BadInput(
            f"{asked.grid}: {left} points: must be at most max_points={asked.max_points:g}; give max_points={left}"
        )
    return cut


def _without_defaults(block: Block, defaults: Mapping[str, Any], entries: list[Entry]) -> Block:
    """The block without constants equal to defaults, so that both spellings give one plan."""
    spoken_of = {name for entry in entries for name in entry.quantities}
    spoken_of |= {name for entry in entries for among in entry.machines.values() for name in among}

    def is_default(axis: Axis) -> bool:
        (name, *others), values = axis.names, axis.values[0]
        return not others and len(axis) == 1 and name not in spoken_of and repr(defaults.get(name)) == repr(values[0])

    return Block(tuple(axis for axis in block.axes if not is_default(axis)))


def _taken(name: str, *sources: dict[str, Any]) -> Any:
    """The value of a key, which all sources lose, in the first source that has it."""
    return next(iter([source.pop(name) for source in sources if name in source]), None)


def _cut(points: str, whole: int) -> tuple[int, int]:
    ends = str(points).split(":")
    if len(ends) == 2 and all((end.isascii() and end.isdecimal() and len(end) < 17) or not end for end in ends):
        begin, end = int(ends[0] or 0), int(ends[1] or whole)
        if begin < end <= whole:
            return begin, end
    raise BadInput(f"points={points!r}: must be BEGIN:END with 0 <= BEGIN < END <= {whole}, like points=0:1000")


def _used(blocks: tuple[Block, ...], name: str, defaults: Mapping[str, Any]) -> list[str]:
    used: dict[str, None] = {}
    for block in blocks:
        used |= dict.fromkeys(block.values.get(name, [defaults[name]]))
    return list(used)
