"""`sweep list` and `sweep show`: all names, and one of them explained."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.metrics import METRICS
from sim.parameters import LARGEST, Parameter
from sim.policies import Policies
from sim.policy import Done, Line, Local, Run, Targets, Write
from sweep.command.compose import as_yaml, compose
from sweep.command.options import KINDS
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import QUANTITIES, Entry, Quantity, catalog
from sweep.inputs.conf import meant, questions
from sweep.inputs.home import expanded
from sweep.tables.make import TABLES
from sweep.tables.text import terminal_width

Folders = Sequence[Path]
PLAIN = ("1", "name", "pages: weight")  # units that are not printed
ORIGINS = """In brackets: the owner of an inherited value.
Sources that begin with `measured` are of this processor, with `family` of a relative; `estimate` is not measured."""
WORDS = {
    f"{words.__name__}.{word.name}": word.value for words in (Targets, Local, Done, Run, Line, Write) for word in words
}


def listed(kind: str | None, folders: Folders) -> str:
    """Every name of a kind with its line; without a kind, the names of all kinds."""
    if kind is None:
        return "\n".join(
            f"{kind} (sweep list {kind}):\n" + _filled(" ".join(names), "  ", break_on_hyphens=False)
            for kind, names in everything(folders).items()
        )
    if kind not in KINDS:
        raise BadInput(f"sweep list {kind}: no such kind{did_you_mean(kind, KINDS)}")
    lines = _names(kind, folders)
    longest = max(map(len, lines), default=0)
    return "\n".join(f"{name:<{longest}}  {line}".rstrip() for name, line in lines.items())


def everything(folders: Folders) -> dict[str, Mapping[str, str]]:
    """The names of each kind, with their lines."""
    return {kind: _names(kind, folders) for kind in KINDS}


def _names(kind: str, folders: Folders) -> Mapping[str, str]:
    if kind == "policies":
        policies = Policies()
        return {name: policies.title(name) for name in policies}
    if kind in ("machines", "workloads"):
        return {name: entry.title for name, entry in catalog(folders)[kind.removesuffix("s")].items()}
    if kind == "parameters":
        return {name: f"{parameter.meaning} [{allowed_range(parameter)}]" for name, parameter in QUANTITIES.items()}
    if kind == "metrics":
        return {name: f"{metric.description} [{metric.unit}]" for name, metric in METRICS.items()}
    if kind == "grids":
        return questions(folders)
    return TABLES if kind == "tables" else WORDS


def shown(name: str, folders: Folders, policy_path: str | None = None) -> str:
    """The meaning of a name; all of them if it belongs to several kinds.

    The user's own policies are in the folder `policy_path`; only their docstrings are read, and no code runs.
    """
    if policy_path is not None and name in (own := Policies(expanded(policy_path, "policy_path"))):
        return f"policy {name}, {own.path(name)}\n\n{own.text(name)}"
    of_kinds = everything(folders)
    known = [each for names in of_kinds.values() for each in names]
    name = meant(name, known)
    kinds = [kind for kind in KINDS if name in of_kinds[kind]]
    if not kinds:
        said = did_you_mean(name, known)
        said = said if said.startswith("; did") else "; `sweep list` has all of them"
        raise BadInput(f"sweep show {name}: no such name{said}")
    return "\n\n".join(_show(kind, name, of_kinds[kind][name], folders) for kind in kinds)


def _filled(text: str, indent: str = "", **options: bool) -> str:
    """Text in lines of the terminal's width, 100 characters at most."""
    width = min(terminal_width(), 100)
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, **options)  # type: ignore[arg-type]


def _show(kind: str, name: str, line: str, folders: Folders) -> str:
    if kind == "policies":
        return f"policy {name}\n\n{Policies().text(name)}"
    if kind in ("machines", "workloads"):
        return _entry(kind.removesuffix("s"), catalog(folders)[kind.removesuffix("s")][name])
    if kind == "grids":
        content = compose([f"+grid={name}"], folders).composition.content
        return f"grid {name}: {line}\n\n{as_yaml(content)}".rstrip()
    return f"{kind.removesuffix('s')} {name}\n{_filled(line)}"


def _entry(kind: str, entry: Entry) -> str:
    """A machine or workload: every number with its interval, unit and source."""
    built = f", built on {entry.parent.name}" if entry.parent else ""
    lines = [f"{kind} {entry.name}: {entry.title}{built}", ""]
    if entry.parent:
        lines[1:1] = [ORIGINS]
    for name, quantity in entry.quantities.items():
        lines.append(_quantity(name, quantity, "" if quantity.owner == entry.name else f"[{quantity.owner}] "))
    for machine, quantities in entry.machines.items():
        lines += ["", f"on {machine}:", *(_quantity(name, quantity, "") for name, quantity in quantities.items())]
    return "\n".join(lines)


def value_text(name: str, quantity: Quantity) -> str:
    """The central value of a quantity, without interval and unit."""
    if name == "range_pages":
        return ", ".join(f"{pages}: {weight:g}" for pages, weight in quantity.central)
    if quantity.alternative is not None:
        return f"{quantity.central} or {quantity.alternative}"
    return f"{quantity.central:g}" if isinstance(quantity.central, int | float) else str(quantity.central)


def _quantity(name: str, quantity: Quantity, taken_from: str) -> str:
    """Its value, interval and unit; then its owner, if inherited, and its source."""
    value = value_text(name, quantity)
    if quantity.low is not None and quantity.low != quantity.high:
        value += f" ({quantity.low:g} to {quantity.high:g})"
    unit = quantity.unit or QUANTITIES[name].unit
    head = f"{name:<24} {value}" + (f" {unit}" if unit not in PLAIN else "")
    return f"{head}\n" + _filled(f"{taken_from}{quantity.source}", "    ") if quantity.source else head


def allowed_range(parameter: Parameter) -> str:
    """Unit and range of a parameter."""
    if parameter.choices:
        return ", ".join(parameter.choices)
    ends = f"at least {parameter.low:g}" if parameter.high >= LARGEST else f"{parameter.low:g} to {parameter.high:g}"
    whole = ", whole" if parameter.whole else ""
    if not parameter.is_number:
        return parameter.unit
    return f"{ends}{whole}" if parameter.unit == "1" else f"{parameter.unit}; {ends}{whole}"
