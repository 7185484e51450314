"""Facts about this machine: CPUs, kernel, mitigations, hypervisor, interrupts.

The readers take the text of the kernel's files, which may be recorded. No privileges are needed.
"""

import gzip
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweep.measure.interrupts import read_interrupts
from sweep.measure.topology import Topology, topology_here

TRACING = ("/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events")
TRACEPOINTS = ("tlb/tlb_flush", "ipi/ipi_send_cpumask")
DELIVERIES = "exit if each one exits to the hypervisor, hypercall if one call sends many, apic if none exits"


@dataclass(frozen=True)
class Facts:
    """The machine and its kernel."""

    cpu_model: str
    host: Topology
    kernel: str
    hypervisor: str | None  # None: none was found
    mitigations: Mapping[str, str]
    accounting: str | None  # the kernel's accounting of handler time, if known
    tick_hz: int | None
    delivery: str | None = "apic"  # the model's parameter; None: unknown in a guest
    hybrid: bool = False  # cores of two kinds

    @property
    def leaves(self) -> bool:
        """Whether interrupts of this guest are known to exit to its hypervisor."""
        return self.delivery in ("exit", "hypercall")

    @property
    def title(self) -> str:
        """Processor, kernel and hypervisor, for the head of a picture."""
        return f"{self.cpu_model}, {self.kernel}" + (f", under {self.hypervisor}" if self.hypervisor else "")

    def lines(self) -> list[str]:
        """For the head of a file: one fact a line."""
        active = [f"{name}: {text}" for name, text in sorted(self.mitigations.items()) if text != "Not affected"]
        return [
            f"CPU: {self.cpu_model}; CPUs {self.host.cpus}, sockets {self.host.sockets}, threads a core "
            f"{self.host.threads_per_core}",
            *(["The cores are of two kinds, and the model has one: costs are for both together."] * self.hybrid),
            f"kernel: {self.kernel}",
            f"hypervisor: {self.hypervisor or 'none seen'}",
            *([VIRTUAL, self.how_they_leave] if self.hypervisor else []),
            f"mitigations: {'; '.join(active) or 'none active'}",
        ]

    @property
    def how_they_leave(self) -> str:
        """The delivery of this guest's interrupts, and a remedy if it is wrong."""
        known = f"Interrupts of this guest have delivery={self.delivery}"
        if self.delivery is None:
            known = "The delivery of this guest's interrupts is assumed to be apic, since its kernel log cannot be read"
        return f"{known}; if that is wrong, give --delivery: {DELIVERIES}."


VIRTUAL = (
    "This is a virtual machine: an interrupt may exit to the hypervisor, which costs about ten times as much as on "
    "bare metal. The costs are those of this virtual machine, not of its processor."
)


def facts() -> Facts:
    """The facts about this machine."""
    cpuinfo = _text("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*\S)", cpuinfo, re.MULTILINE)
    accounting, tick_hz = read_kernel_config(_kernel_config())
    above = hypervisor(cpuinfo, _text("/sys/hypervisor/type"), output_of("systemd-detect-virt", "--vm"))
    flaws = sorted(Path("/sys/devices/system/cpu/vulnerabilities").glob("*"))
    return Facts(
        cpu_model=model[1] if model else platform.machine(),
        host=topology_here(),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        hypervisor=above,
        mitigations={path.name: _text(str(path)).strip() for path in flaws},
        accounting=accounting,
        tick_hz=tick_hz,
        delivery="apic" if above is None else delivery_of_guest(output_of("dmesg")),
        hybrid=Path("/sys/devices/cpu_atom").is_dir(),
    )


def hypervisor(cpuinfo: str, sys_type: str, detected: str) -> str | None:
    """The hypervisor: by name if known, else by the CPU's flag."""
    flag = re.search(r"^flags\s*:.*\shypervisor\b", cpuinfo, re.MULTILINE)
    named = sys_type.strip() if detected in ("", "none") else detected
    return named or ("unnamed, the CPU flag `hypervisor` is set" if flag else None)


def delivery_of_guest(log: str) -> str | None:
    """The delivery of a guest's interrupts, from its kernel log; None if that is not readable from its beginning.

    C: arch/x86/kernel/kvm.c  kvm_setup_pv_ipi(); arch/x86/hyperv/hv_apic.c  hv_apic_init(). If the processor itself
    sends a guest's interrupts, the guest cannot know.
    """
    if re.search(r"setup pv ipis|kvm_send_ipi_mask|using ipi hypercalls", log, re.IGNORECASE):
        return "hypercall"
    return "exit" if "Hypervisor detected" in log else None


def read_kernel_config(text: str) -> tuple[str | None, int | None]:
    """Accounting mode and tick from a kernel configuration; None if unknown."""
    known = dict(re.findall(r"^CONFIG_(\w+)=(\w+)$", text, re.MULTILINE))
    modes = {"irq_time": "IRQ_TIME_ACCOUNTING", "tick": "TICK_CPU_ACCOUNTING"}
    return next((mode for mode, name in modes.items() if known.get(name) == "y"), None), int(known.get("HZ", 0)) or None


def interrupts() -> dict[str, int]:
    """Sums over all CPUs of the rows of /proc/interrupts, by the row's name."""
    return {name: sum(counts) for name, counts in read_interrupts(_text("/proc/interrupts")).items()}


def sources_not_used() -> list[str]:
    """Measurements that need more rights, one sentence each."""
    out = []
    if not shutil.which("perf"):
        out.append("perf is not installed: no counts of migrations and context switches by process")
    readable = [point for root in TRACING for point in TRACEPOINTS if os.access(f"{root}/{point}/id", os.R_OK)]
    if missing := [point.replace("/", ":") for point in TRACEPOINTS if point not in readable]:
        out.append(f"tracepoints {', '.join(missing)} are not readable: no reasons and sizes of flushes")
    rows = interrupts()
    if missing := [row for row in ("CAL", "TLB") if row not in rows]:
        out.append(f"/proc/interrupts has no row {', '.join(missing)}: interrupts per call are not known")
    return out


def output_of(*command: str) -> str:
    """The output of a command; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _kernel_config() -> str:
    try:
        with gzip.open("/proc/config.gz", "rt") as file:
            return file.read()
    except OSError:
        return _text(f"/boot/config-{platform.release()}")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
