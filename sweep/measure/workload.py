"""A workload from a real run: a command's kernel work, as `workload/<name>.yaml` of the user's own folder.

No running kernel has XPFO, so its events are estimated from counts; every number's source is measured, estimated (with
the assumption) or assumed. Recorded files of another host may replace a command.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sweep.errors import printable
from sweep.inputs.catalog import QUANTITIES
from sweep.inputs.conf import conf_dir
from sweep.inputs.reader import read_yaml
from sweep.measure.machine import Facts

PAGE = 4096
OTHERS = 0.1  # share of CPUs of other processes above which the elapsed time is useless
MODEL = "kernel_build"  # source of assumptions
Seen = Mapping[str, float]


def workload(seen: Seen, jobs: int) -> dict[str, dict[str, Any]]:
    """Quantities of a workload file by name, each with its source."""
    model = read_yaml(conf_dir() / "workload" / f"{MODEL}.yaml", f"workload/{MODEL}").content
    cpu_s = max(seen["user_s"] + seen["system_s"], 1e-9)
    faults, copied, allocated = seen["faults"], seen.get("bytes", 0.0) / PAGE, seen.get("pgalloc", 0.0)
    files = f"{copied:.0f} pages of read and written bytes, pipes included"
    out: dict[str, Any] = {
        "user_s": _known(seen["user_s"], "measured: user CPU seconds"),
        "base_system_s": _known(seen["system_s"], "measured: system CPU seconds, of a kernel without XPFO"),
        "kunmap_events": {
            "low": faults, "central": faults + copied, "high": 2 * faults + copied,
            "source": f"estimated: {faults:.0f} page faults, each zeroes or copies a page (high: copies map two), and "
            + (files if "bytes" in seen else "nothing for files, since bytes are not known"),
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
        source = f"estimated: {seen['elapsed_s']:.1f} s elapsed for {cpu_s:.1f} CPU s on {jobs} CPUs; time that is not "
        source += "parallel counts as serial, waits included"
        out["serial_share"] = _known(min(1.0, max(0.0, share)), source)
    if "switches" in seen:
        source = "measured: context switches of its tasks over CPU seconds"
        out["user_switches_per_s"] = _known(seen["switches"] / cpu_s, source)
    if "migrations" in seen:
        out["migrations_per_s"] = _known(seen["migrations"] / cpu_s, "measured: migrations by perf over CPU seconds")
    least = faults + seen.get("interrupts", 0.0)
    least_words = "page faults" + (", and interrupts of the machine" if "interrupts" in seen else ", no interrupts")
    if "system_calls" in seen:
        entries = (least + seen["system_calls"]) / cpu_s
        out["kernel_entries_per_s"] = _known(entries, f"measured: system calls by perf, {least_words}")
    for name, value in model.items():
        if name not in QUANTITIES or name in out or name == "alloc_per_kunmap":
            continue
        some = dict(value) if isinstance(value, Mapping) and name != "range_pages" else {"central": value}
        why = f"assumed: as {MODEL}" + (f"; {some['source']}" if "source" in some else "")
        if name == "serial_share" and not alone:
            why += "; the elapsed time is useless: other processes used the CPUs, or it is not known"
        if name == "kernel_entries_per_s":
            some = {bound: max(least / cpu_s, some[bound]) for bound in ("low", "central", "high")}
            why += f"; at least {least_words}, which are measured" if "interrupts" in seen else "; at least page faults"
        out[name] = some | {"source": why}
    return out


def _known(value: float, source: str) -> dict[str, Any]:
    return {"central": value, "source": source}


def comment(text: str) -> str:
    """A comment of YAML on one line, with escaped line ends and unprintable characters."""
    return f"# {printable(text)}"


def workload_file(name: str, seen: Seen, jobs: int, what: str, machine: Facts | None, missing: Sequence[str]) -> str:
    """The text of `workload/<name>.yaml`."""
    lines = [comment(f"{what}. Every source begins with measured, estimated or assumed.")]
    if machine:
        lines += [comment(line) for line in machine.lines()]
    lines += [comment(each) for each in missing]
    if "machine_cpu_s" in seen:
        own = (seen["user_s"] + seen["system_s"]) / max(seen["machine_cpu_s"], 1e-9)
        lines.append(f"# This command used {min(own, 1.0):.0%} of the machine's CPU time meanwhile.")
        lines.append("# With a smaller share, more of its switches and migrations are caused by other processes.")
        stolen = f"{seen['steal_s']:.1f} s" if seen["steal_s"] >= 0 else "not known, the count went down"
        lines.append(f"# Stolen by the hypervisor meanwhile: {stolen}.")
    lines.append(f"title: {json.dumps(name)}")
    for key, quantity in workload(seen, jobs).items():
        rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in quantity.items()}
        if key == "range_pages":
            pages = ", ".join(f"{p}: {w}" for p, w in quantity["central"].items())
            lines.append(f"range_pages: {{{pages}}} # {quantity['source']}")
        else:
            lines.append(f"{key}: {json.dumps(rounded | {'unit': QUANTITIES[key].unit})}")
    return "\n".join(lines) + "\n"
