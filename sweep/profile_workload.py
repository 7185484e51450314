"""A workload from a real run: what a command asked of the kernel, as `workload/<name>.yaml` of the user's own folder.

XPFO is in no running kernel, so its events are estimated from what is counted; every number says whether it is
measured, estimated (with the assumption) or assumed. Recorded files from elsewhere may take the place of a command.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sweep.catalog import QUANTITIES, BadInput
from sweep.conf import conf_dir
from sweep.counted import seen_of_command, seen_of_snapshots
from sweep.this_machine import VIRTUAL, Facts, facts, own_folder

PAGE = 4096
OTHERS = 0.1  # share of its CPUs above which what else ran makes the elapsed time say nothing
MODEL = "kernel_build"  # whose assumptions are taken over where nothing is known
Seen = Mapping[str, float]


def workload(seen: Seen, jobs: int) -> dict[str, dict[str, Any]]:
    """Quantities of a workload file by name, each with how it is known in its source."""
    model = yaml.safe_load((conf_dir() / "workload" / f"{MODEL}.yaml").read_text(encoding="utf-8"))
    cpu_s = max(seen["user_s"] + seen["system_s"], 1e-9)
    faults, copied, allocated = seen["faults"], seen.get("bytes", 0.0) / PAGE, seen.get("pgalloc", 0.0)
    files = f"{copied:.0f} pages of read and written bytes, pipes included"
    out: dict[str, Any] = {
        "user_s": _known(seen["user_s"], "measured: user CPU seconds"),
        "base_system_s": _known(seen["system_s"], "measured: system CPU seconds, of a kernel without XPFO"),
        "kunmap_events": {
            "low": faults, "central": faults + copied, "high": 2 * faults + copied,
            "source": f"estimated: {faults:.0f} page faults, each zeroes or copies a page (high: copies map two), and "
            + (files if "bytes" in seen else "nothing for files: bytes are not known"),
        },
        "alloc_events": {
            "low": 0.5 * faults, "central": faults, "high": max(faults, allocated),
            "source": "estimated: a page fault allocates a page (low: half of them find it in the page cache; high: "
            f"every page that the whole machine allocated, {allocated:.0f})",
        },
        "large_range_share": _known(
            min(1.0, seen["huge"] / max(faults, 1.0)), "measured: thp_fault_alloc, machine-wide, over page faults"
        ),
    }  # fmt: skip
    others_s = seen.get("machine_cpu_s", cpu_s) - cpu_s
    alone = "elapsed_s" in seen and others_s <= OTHERS * seen["elapsed_s"] * jobs
    if alone and jobs > 1:
        share = (seen["elapsed_s"] / cpu_s - 1 / jobs) / (1 - 1 / jobs)
        out["serial_share"] = _known(
            min(1.0, max(0.0, share)),
            f"estimated: {seen['elapsed_s']:.1f} s elapsed for {cpu_s:.1f} CPU s on {jobs} CPUs; what is not parallel "
            "counts as serial, waits included",
        )
    for name, counted, what in (
        ("user_switches_per_s", "switches", "context switches of its tasks"),
        ("migrations_per_s", "migrations", "migrations by perf"),
    ):
        if counted in seen:
            out[name] = _known(seen[counted] / cpu_s, f"measured: {what} over CPU seconds")
    least = faults + seen.get("interrupts", 0.0)
    if "system_calls" in seen:
        out["kernel_entries_per_s"] = _known(
            (least + seen["system_calls"]) / cpu_s,
            "measured: system calls by perf, page faults, and interrupts of the machine",
        )
    for name, value in model.items():
        if name not in QUANTITIES or name in out or name == "alloc_per_kunmap":
            continue
        some = dict(value) if isinstance(value, Mapping) and name != "range_pages" else {"central": value}
        why = f"assumed: as {MODEL}" + (f"; {some['source']}" if "source" in some else "")
        if name == "serial_share" and not alone:
            why += "; the elapsed time says nothing, others used the CPUs or it is not known"
        if name == "kernel_entries_per_s":
            some = {bound: max(least / cpu_s, some[bound]) for bound in ("low", "central", "high")}
            why += "; at least page faults and interrupts, which are measured"
        out[name] = some | {"source": why}
    return out


def _known(value: float, source: str) -> dict[str, Any]:
    return {"central": value, "source": source}


def workload_file(name: str, seen: Seen, jobs: int, what: str, machine: Facts | None, missing: Sequence[str]) -> str:
    """The text of `workload/<name>.yaml`."""
    lines = [f"# {what}. Every source begins with measured, estimated or assumed."]
    if machine:
        lines += [f"# {line}" for line in machine.lines()]
    lines += [f"# {each}" for each in missing]
    if "machine_cpu_s" in seen:
        own = (seen["user_s"] + seen["system_s"]) / max(seen["machine_cpu_s"], 1e-9)
        lines.append(f"# Of the machine's CPU time meanwhile {min(own, 1.0):.0%} was this command's.")
        lines.append("# The less that is, the more of its switches and migrations are the others' doing.")
        lines.append(f"# Stolen by the hypervisor meanwhile: {seen['steal_s']:.1f} s.")
    lines.append(f"title: {json.dumps(name)}")
    for key, quantity in workload(seen, jobs).items():
        rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in quantity.items()}
        if key == "range_pages":
            pages = ", ".join(f"{p}: {w}" for p, w in quantity["central"].items())
            lines.append(f"range_pages: {{{pages}}} # {quantity['source']}")
        else:
            lines.append(f"{key}: {json.dumps(rounded | {'unit': QUANTITIES[key].unit})}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile a command or recorded files; the exit code: 0 done, 2 bad input."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m sweep.profile_workload",
        usage="%(prog)s [options] -- COMMAND ...",
        description="Run a command, count what it asks of the kernel, write workload/NAME.yaml into your own folder.",
        allow_abbrev=False,
    )
    parser.add_argument("--name", default="mine", help="of the workload; default mine")
    parser.add_argument("--jobs", type=int, help="CPUs that it keeps busy; default the N of a -jN, else all")
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder; default ~/.config/xpfo-sweep")
    for name in ("vmstat", "stat", "interrupts"):
        parser.add_argument(
            f"--{name}", nargs=2, metavar=("BEFORE", "AFTER"), help=f"recorded /proc/{name}, no command"
        )
    parser.add_argument("--perf", metavar="FILE", help="recorded output of perf stat -x,")
    given = parser.parse_args(arguments[:at])
    try:
        path = profile(given, arguments[at + 1 :])
    except (BadInput, OSError) as error:
        print(f"sweep.profile_workload: {error}", file=sys.stderr)
        return 2
    print(f"{path}\n\nnext: python -m sweep --config-dir {path.parent.parent} +grid=this_machine workload={given.name}")
    return 0


def profile(given: argparse.Namespace, command: Sequence[str]) -> Path:
    """Profile what the command line says; the file that was written."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", given.name):
        raise BadInput(f"--name={given.name!r}: must be small letters, digits and _, a letter first")
    if bool(command) == bool(given.vmstat):
        raise BadInput("give either a command after --, or recorded files, --vmstat BEFORE AFTER at least")
    if given.jobs is not None and given.jobs < 1:
        raise BadInput(f"--jobs={given.jobs}: must be at least 1")
    missing: list[str] = []
    if command:
        machine: Facts | None = facts()
        seen, missing = seen_of_command(command)
        stated = re.search(r"(?:^|\s)-j\s*(\d+)", " ".join(command))
        cpus = len(os.sched_getaffinity(0))
        jobs = min(given.jobs or (int(stated[1]) if stated else cpus), cpus)
        what = f"`{' '.join(command)}`"
        if machine and machine.hypervisor:
            print(f"hypervisor {machine.hypervisor}. {VIRTUAL}", file=sys.stderr)
    else:
        texts = {
            name: tuple(Path(p).read_text() for p in getattr(given, name))
            for name in ("vmstat", "stat", "interrupts")
            if getattr(given, name)
        }
        perf = Path(given.perf).read_text() if given.perf else None
        machine = None
        seen = seen_of_snapshots(texts["vmstat"], texts.get("stat"), texts.get("interrupts"), perf)  # type: ignore[arg-type]
        jobs = given.jobs or int(seen.get("cpus", 1))
        what = "From recorded files; snapshots count the whole machine"
    path = own_folder(given.config_dir) / "workload" / f"{given.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workload_file(given.name, seen, jobs, what, machine, missing), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
