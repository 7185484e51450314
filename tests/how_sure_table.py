"""The tables of docs/how-sure.md, from conf/ and from the table of docs/validation.md: no limit or error is copied."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sim.policies import Policies
from sim.policy import Targets
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.likelihood import spread
from sweep.inputs.measured import Row, Table, published
from tests.policies_table import flush, table

VALIDATION = Path(__file__).resolve().parent.parent / "docs" / "validation.md"
MACHINES = catalog([conf_dir()])["machine"]
HEADS = ["kind of flush", "machine", "CPUs", "busy", "measured", "inside", "median error", "interval, 95 % over 5 %"]


def tables() -> dict[str, str]:
    """The tables by the name of their marker."""
    measured, cores = published(), spread().cores
    builds = [
        [
            _joined(flush(Policies()[policy]) for policy in rows["policy"]),
            _machine(name),
            _range(rows["cores"]),
            _range(rows["jobs"]),
            f"kernel builds under {_named(sorted(rows['policy']))}",
            *("fitted", "", ""),
        ]
        for name, rows in measured.builds.query("fitted == 'yes'").groupby("machine")
    ]
    tested = {row.point["policy"] for each in measured.tables for row in each.rows}
    untested = sorted({*Policies()} - tested - {*measured.builds["policy"]})
    return {
        "limit": f"The largest machine on which a build was measured has **{cores:g} CPUs** (`discrepancy_cores` in "
        "[conf/likelihood.yaml](../conf/likelihood.yaml)).",
        "measured": table(HEADS, sorted([*builds, *map(_measured, measured.tables)])),
        "error": table(
            ["CPUs", "fitted machine", "other machine"],
            [
                [f"{count:g}", *(f"{spread().discrepancy(count, fitted):.2g}" for fitted in (True, False))]
                for count in cores * np.array([1, 2, 4, 8])
            ],
        ),
        "untested": "No measurement in `conf/` tests these policies: " + _named(untested) + ".",
    }


def _measured(measured: Table) -> list[str]:
    """The line of a table of `conf/validation/`."""
    rows = [row for row in measured.rows if row.role != "input"]
    found = re.search(rf"^\| [^|]*`{measured.name}`.*$", VALIDATION.read_text(encoding="utf-8"), re.MULTILINE)
    if found is not None:
        cells = [cell.strip() for cell in found[0].strip("|").split("|")]
        result = [f"{cells[2]} of {cells[1]}", cells[4], cells[5]]
    else:
        result = ["bound" if rows[0].role == "at_least" else rows[0].role, "", ""]
    return [
        _joined(map(_flush, rows)),
        _joined(_machine(row.point["machine"]) for row in rows),
        _range(map(_cores, rows)),
        _range(row.point["jobs"] for row in rows),
        measured.title,
        *result,
    ]


def _cores(row: Row) -> float:
    return float(row.point.get("cores", MACHINES[row.point["machine"]].quantities["cores"].central))


def _range(numbers: Iterable[float]) -> str:
    """From the least to the most; an asterisk where the most is beyond the largest build."""
    found = {*numbers}
    said = f"{min(found):g}" + (f" to {max(found):g}" if len(found) > 1 else "")
    return said + " *" * (max(found) > spread().cores)


def _machine(name: str) -> str:
    delivery = MACHINES[name].quantities.get("delivery")
    guest = delivery is not None and delivery.central != "apic"
    return f"`{name}` (guest)" if guest else f"`{name}`"


def _flush(row: Row) -> str:
    policy = Policies()[row.point["policy"]]
    return "local flush" if policy.targets is Targets.OTHER_BUSY and row.point["jobs"] == 1 else flush(policy)


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted({*names}))


def _named(policies: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(policies))
