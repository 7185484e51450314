"""The reference pages of the site, made from the code and conf/ when the site is built, so none can be stale."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sim.metrics import METRICS
from sim.parameters import PARAMETERS, Kind, Parameter
from sim.policies import Policies
from sim.quantities import DERIVING
from sim.reading import reads
from sweep.command.listing import allowed_range, value_text
from sweep.inputs.catalog import CORE, QUANTITIES, Entry, Quantity, catalog
from sweep.inputs.conf import conf_dir

FOLDER = "reference"
SPECIAL = re.compile(r"([\\*_<>|\[\]#])")
LABEL = re.compile(r"^(\w+):\s+", re.MULTILINE)  # of a paragraph of a policy's docstring


def on_files(files: Any, config: Any) -> None:
    """Add the reference pages."""
    from mkdocs.structure.files import File

    for page, text in pages().items():
        files.append(File.generated(config, f"{FOLDER}/{page}", content=text))


def pages() -> dict[str, str]:
    """The Markdown of every reference page, by its name in the folder."""
    entries = catalog([conf_dir()])
    made = {"policies.md": policies(), "parameters.md": parameters(), "metrics.md": metrics(), "python.md": python()}
    for group, catalogue in entries.items():
        made[f"{group}s.md"] = contents(group, catalogue)
        made |= {f"{group}/{name}.md": entry_page(group, catalogue[name]) for name in catalogue}
    return made


def parameters() -> str:
    """Every parameter of a simulation, and what a machine or workload may say in place of some."""
    deriving = [[_anchored(name), _unit(p.unit), _code(p.makes), _plain(p.meaning)] for name, p in DERIVING.items()]
    return "\n\n".join(
        [
            "# Parameters",
            "Each is a setting of `sweep`, an axis of a grid, a keyword of `sim.simulate` and a column of "
            "`results.parquet`. A parameter without a default comes from the machine or the workload.",
            _table(["parameter", "unit", "allowed", "default", "meaning"], map(_parameter, PARAMETERS.items())),
            "## Quantities that set parameters",
            "A machine or a workload may have these quantities. Each changes the parameters beside it.",
            _table(["quantity", "unit", "changes", "meaning"], deriving),
        ]
    )


def _parameter(named: tuple[str, Parameter]) -> list[str]:
    name, parameter = named
    default = "derived, or none" if parameter.optional else "" if parameter.default is None else f"{parameter.default}"
    allowed = allowed_range(parameter).removeprefix(f"{parameter.unit}; ")
    return [_anchored(name), _unit(parameter.unit), _plain(allowed), default, _plain(parameter.meaning)]


def metrics() -> str:
    """Every metric."""
    rows = [[_anchored(name), _unit(metric.unit), _plain(metric.description)] for name, metric in METRICS.items()]
    return "\n\n".join(
        [
            "# Metrics",
            "Results of `sim.simulate`, as arrays of shape [point, replica], and the last columns of "
            "`results.parquet`. [The model](../model.md#meaning-of-the-numbers) has their equations. "
            "Null is NaN in an array.",
            _table(["metric", "unit", "meaning"], rows),
        ]
    )


def policies() -> str:
    """Every policy of the package: its docstring, and the parameters that it reads."""
    words = [
        "# Policies",
        "One file in `sim/policies/` each. `Kernel` names the kernel's code, `Return` the state after a flush event, "
        "`Stale` the CPUs that may use the old mapping after it, and `Context` where the kernel could do it. "
        "[Policies](../policies.md) has two tables of all policies; [Adding](../adding.md#a-policy) describes how to "
        "write one.",
    ]
    policies = Policies()
    for name, policy in policies.items():
        read = [
            f"[`{each}`](parameters.md#{each})" for each in reads(policy, Kind.BUILD if policy.build else Kind.LOOP)
        ]
        words += [
            f"## `{name}` {{ #{name} }}",
            *_docstring(policies.text(name)),
            f'??? note "Reads {len(read)} parameters"\n\n    {", ".join(read)}',
        ]
    return "\n\n".join(words)


def _docstring(text: str) -> list[str]:
    """A policy's docstring: its sentence, and a list of its labelled paragraphs."""
    sentence, _, rest = inspect.cleandoc(text).partition("\n\n")
    _, *labelled = LABEL.split(rest)
    said = zip(labelled[::2], labelled[1::2], strict=True)
    return [_flat(sentence), "\n".join(f"- **{label}:** {_flat(text)}" for label, text in said)]


def _flat(text: str) -> str:
    """A paragraph on one line."""
    return _plain(" ".join(text.split()))


def contents(group: str, entries: Mapping[str, Entry]) -> str:
    """The machines, or the workloads, a line each."""
    rows = [
        [f"[`{name}`]({group}/{name}.md)", _plain(entry.title), f"`{entry.parent.name}`" if entry.parent else ""]
        for name, entry in entries.items()
    ]
    return "\n\n".join(
        [
            f"# {group.capitalize()}s",
            f"One file in `conf/{group}/` each; the page of each has all its numbers with their sources. "
            f"[Adding](../adding.md#a-{group}) describes how to write one.",
            _table([group, "title", "builds on"], rows),
        ]
    )


def entry_page(group: str, entry: Entry) -> str:
    """A machine or a workload: every number with its interval, unit and source."""
    built = ""
    if entry.parent:
        name = entry.parent.name
        of_a_core = name.endswith(f" {CORE}")  # whose numbers stand on the pages of its machines
        built = f" Builds on `{name}`." if of_a_core else f" Builds on [`{name}`]({name}.md)."
    words = [
        f"# `{entry.name}`",
        f"{_plain(entry.title)}.{built} Low and high are the 5th and 95th percentile "
        "of the belief; two names have their probabilities.",
        _quantities(entry.quantities),
    ]
    for machine, quantities in entry.machines.items():
        words += [f"## On `{machine}`", _quantities(quantities)]
    return "\n\n".join(words)


def _quantities(quantities: Mapping[str, Quantity]) -> str:
    rows = []
    for name, quantity in quantities.items():
        value = f"{_plain(value_text(name, quantity))} {_unit(quantity.unit or QUANTITIES[name].unit)}"
        rows.append([f"[`{name}`](../parameters.md#{name})", value, _interval(quantity), _plain(quantity.source)])
    return _table(["parameter", "value", "low to high", "source"], rows)


def _interval(quantity: Quantity) -> str:
    """What is believed of a quantity beside its central value."""
    said = []
    if quantity.share is not None:
        said.append(f"{quantity.share:g} to {1.0 - quantity.share:g}")
    if quantity.low is not None and quantity.uncertain:
        said.append(f"{quantity.low:g} to {quantity.high:g}")
    if quantity.least is not None:
        said.append(f"at least {quantity.least:g}")
    if quantity.most is not None:
        said.append(f"at most {quantity.most:g}")
    return ", ".join(said)


def python() -> str:
    """What Python code may call; mkdocstrings takes it from the docstrings."""
    return "\n\n".join(
        [
            "# Python",
            "[Results](../results.md#in-a-notebook) has examples. Everything else may change without notice.",
            "## `sim`",
            "::: sim.simulate",
            "`sim.PARAMETERS` and `sim.METRICS` are the tables of [parameters](parameters.md) and "
            "[metrics](metrics.md) as mappings by name.",
            "## `sweep`",
            _members("sweep", "!^_"),
            "## `sim.policy`",
            _members("sim.policy", "!^_", "!^check_", "!^[A-Z_]+$", "show_source: true"),
        ]
    )


def _members(module: str, *said: str) -> str:
    """The members of a module that pass the filters, without the module's own heading."""
    filters = ", ".join(f'"{each}"' for each in said if each.startswith("!"))
    options = [f"filters: [{filters}]", *(each for each in said if not each.startswith("!"))]
    lines = [f"::: {module}", "    options:", "      show_root_heading: false", "      show_root_toc_entry: false"]
    return "\n".join([*lines, *(f"      {option}" for option in options)])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _plain(text: str) -> str:
    """Text that means nothing to Markdown, code in backticks aside."""
    parts = text.split("`")
    parts[::2] = [SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _anchored(name: str) -> str:
    """A name that other pages can point at."""
    return f"`{name}`{{ #{name} }}"


def _unit(unit: str) -> str:
    return "" if unit in ("1", "name", "pages: weight") else unit


def _code(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)
