"""What this machine says of itself: CPUs, kernel, mitigations, hypervisor, interrupts.

The readers take the text of the kernel's files, so that recorded files serve as well. Unprivileged throughout.
"""

from __future__ import annotations

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

TRACEPOINTS = ("tlb/tlb_flush", "ipi/ipi_send_cpumask")
DELIVERIES = "exit where each one leaves it, hypercall where one call sends many, apic where none leaves it"


@dataclass(frozen=True)
class Facts:
    """The machine and its kernel."""

    cpu_model: str
    cpus: int
    sockets: int
    threads_per_core: int
    kernel: str
    hypervisor: str | None  # None: none that shows
    mitigations: Mapping[str, str]
    accounting: str | None  # how the kernel books handler time, where it says so
    tick_hz: int | None
    cluster_cores: int | None = None  # cores that share a last-level cache; None: all of a socket
    delivery: str | None = "apic"  # how interrupts leave a CPU, as the model's parameter; None: a guest cannot tell
    hybrid: bool = False  # cores of two kinds

    @property
    def leaves(self) -> bool:
        """Whether interrupts are known to leave this guest for its hypervisor."""
        return self.delivery in ("exit", "hypercall")

    @property
    def title(self) -> str:
        """Processor, kernel and hypervisor, for the head of a picture."""
        return f"{self.cpu_model}, {self.kernel}" + (f", under {self.hypervisor}" if self.hypervisor else "")

    def lines(self) -> list[str]:
        """For the head of a file: one fact a line."""
        active = [f"{name}: {text}" for name, text in sorted(self.mitigations.items()) if text != "Not affected"]
        return [
            f"CPU: {self.cpu_model}; CPUs {self.cpus}, sockets {self.sockets}, threads a core {self.threads_per_core}",
            *([TWO_KINDS] if self.hybrid else []),
            f"kernel: {self.kernel}",
            f"hypervisor: {self.hypervisor or 'none seen'}",
            *([VIRTUAL, self.how_they_leave] if self.hypervisor else []),
            f"mitigations: {'; '.join(active) or 'none active'}",
        ]

    @property
    def how_they_leave(self) -> str:
        """How interrupts leave this guest, and what to do where that is not so."""
        if self.delivery is None:
            known = (
                "How interrupts leave this guest is not known: its kernel log cannot be read. They count as not leaving"
            )
        else:
            known = f"Interrupts leave this guest as delivery={self.delivery} says"
        return f"{known}; where that is wrong, give --delivery: {DELIVERIES}."


TWO_KINDS = "The cores are of two kinds, and those of the model of one: costs hold for both together."
VIRTUAL = (
    "This is a virtual machine: an interrupt may exit to the hypervisor, which costs about ten times as much as on "
    "bare metal. The costs hold for this virtual machine, not for its processor."
)


def facts() -> Facts:
    """Of the machine that this runs on."""
    cpuinfo = _text("/proc/cpuinfo")
    model, sockets, threads = read_cpuinfo(cpuinfo)
    config = read_kernel_config(_kernel_config())
    above = hypervisor(cpuinfo, _text("/sys/hypervisor/type"), output_of("systemd-detect-virt", "--vm"))
    return Facts(
        cpu_model=model or platform.machine(),
        cpus=os.cpu_count() or 1,
        sockets=sockets,
        threads_per_core=threads,
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        hypervisor=above,
        mitigations={
            path.name: _text(str(path)).strip()
            for path in sorted(Path("/sys/devices/system/cpu/vulnerabilities").glob("*"))
        },
        accounting=config[0],
        tick_hz=config[1],
        delivery="apic" if above is None else delivery_of_guest(output_of("dmesg")),
        hybrid=Path("/sys/devices/cpu_atom").is_dir(),
    )


def read_cpuinfo(text: str) -> tuple[str, int, int]:
    """Model name, sockets and threads a core from /proc/cpuinfo; one of each where it does not say."""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    sockets = set(re.findall(r"^physical id\s*:\s*(\d+)$", text, re.MULTILINE))
    siblings = re.search(r"^siblings\s*:\s*(\d+)$", text, re.MULTILINE)
    cores = re.search(r"^cpu cores\s*:\s*(\d+)$", text, re.MULTILINE)
    threads = int(siblings[1]) // int(cores[1]) if siblings and cores and int(cores[1]) else 1
    return (model[1].strip() if model else ""), max(1, len(sockets)), max(1, threads)


def hypervisor(cpuinfo: str, sys_type: str, detected: str) -> str | None:
    """Which hypervisor, or that there is one: by name where anybody says it, by the CPU's own flag else."""
    if detected and detected != "none":
        return detected
    if sys_type.strip():
        return sys_type.strip()
    flags = re.search(r"^flags\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return "unnamed, the CPU flag `hypervisor` is set" if flags and "hypervisor" in flags[1].split() else None


def delivery_of_guest(log: str) -> str | None:
    """How interrupts leave a guest by its kernel log; None if that is not readable from its beginning.

    C: arch/x86/kernel/kvm.c  kvm_setup_pv_ipi(); arch/x86/hyperv/hv_apic.c  hv_apic_init(). Where the processor sends
    a guest's interrupts by itself, the guest is not told.
    """
    if re.search(r"setup pv ipis|kvm_send_ipi_mask|using ipi hypercalls", log, re.IGNORECASE):
        return "hypercall"
    return "exit" if "Hypervisor detected" in log else None


def read_kernel_config(text: str) -> tuple[str | None, int | None]:
    """Accounting mode and tick from a kernel configuration; None if it does not say."""
    irq_time = re.search(r"^CONFIG_IRQ_TIME_ACCOUNTING=y$", text, re.MULTILINE)
    tick = re.search(r"^CONFIG_TICK_CPU_ACCOUNTING=y$", text, re.MULTILINE)
    hz = re.search(r"^CONFIG_HZ=(\d+)$", text, re.MULTILINE)
    return ("irq_time" if irq_time else "tick" if tick else None), (int(hz[1]) if hz else None)


def interrupts() -> dict[str, int]:
    """Sums over all CPUs of the rows of /proc/interrupts, by the row's name."""
    return {name: sum(counts) for name, counts in read_interrupts(_text("/proc/interrupts")).items()}


def since_kernel(release: str, major: int, minor: int) -> bool:
    """Whether a release like 5.15.0-91-generic is at least major.minor."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is None or (int(found[1]), int(found[2])) >= (major, minor)


def sources_not_used() -> list[str]:
    """What more rights would add here, one sentence each."""
    out = []
    if not shutil.which("perf"):
        out.append("perf is not installed: no counts of migrations and context switches by process")
    names = [name for root in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing") for name in _points(root)]
    missing = [point for point in TRACEPOINTS if point not in names]
    if missing:
        out.append(
            f"tracepoints {', '.join(missing).replace('/', ':')} are not readable: no reasons and sizes of flushes"
        )
    rows = interrupts()
    missing = [row for row in ("CAL", "TLB") if row not in rows]
    if missing:
        out.append(f"/proc/interrupts has no row {', '.join(missing)}: interrupts per call are not known")
    return out


def _points(root: str) -> list[str]:
    return [point for point in TRACEPOINTS if os.access(f"{root}/events/{point}/id", os.R_OK)]


def output_of(*command: str) -> str:
    """What a command prints; nothing if it cannot be run."""
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
