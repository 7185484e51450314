"""What people have as counters: read with its values or refused by name, and what the flushes of a host cost."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

import sweep
from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.measure.flushes import Counted, Load, loads, read_flushes
from sweep.measure.interrupts import between, snapshots
from sweep.measure.pasted import number, plain
from sweep.measure.perf import UTILIZED, read_perf
from sweep.measure.tracepoints import FULL_PAGES, read_events, read_maps
from sweep.run.shootdowns import machine_of, simulated

INPUTS = Path(__file__).resolve().parents[2] / "shared" / "cases" / "inputs"
beside = pytest.mark.skipif(not INPUTS.is_dir(), reason="the collected inputs are not beside this checkout")


def given(*names, **more):
    """What these inputs say together."""
    files = [(name, (INPUTS / name).read_text(encoding="utf-8")) for name in names]
    return read_flushes(files, more.get("seconds"), more.get("kernel"))


ALONE = {  # every input by itself: a piece of the sentence with which it is refused, or None where it is enough
    "bpftrace_tlb_flush_reasons.txt": "has no duration: give --seconds",
    "cortenmm_mprotect.csv": "contains cycles of calls, no counts of flushes",
    "ebizzy_output.txt": "contains the time of a command, no counts of flushes",
    "ftrace_csd_ipi_quoted_printable.txt": "contains function-call interrupts by ftrace",
    "interrupts_12cpu_after.txt": "one snapshot counts since boot",
    "interrupts_12cpu_before.txt": "one snapshot counts since boot",
    "interrupts_2vcpu_virtio.txt": "one snapshot counts since boot",
    "interrupts_4cpu_cal_wrapped.txt": "one snapshot counts since boot",
    "interrupts_8cpu_heavy.txt": "one snapshot counts since boot",
    "ipi_benchmark_2vcpu_ipiv.txt": "contains times of ipi_benchmark",
    "ipi_benchmark_dmesg.txt": "contains times of ipi_benchmark",
    "ipi_benchmark_power.md": "contains times of ipi_benchmark",
    "lscpu_J_flat_288cpu.json": "threads: not there: must be a line like `Thread(s) per core: 2`",
    "lscpu_J_nested_i7_8565u.json": "sockets: not there: must be a line like `Socket(s): 1`",
    "lscpu_ampere_altra.txt": "contains the CPUs of a host (lscpu), no counts of flushes",
    "lscpu_e_french.txt": "contains the CPUs of a host (lscpu), no counts of flushes",
    "lscpu_e_hybrid_12900k.txt": "contains the CPUs of a host (lscpu), no counts of flushes",
    "monitor_peaks_german.md": None,
    "numactl_H_256cpu.txt": "contains NUMA nodes by numactl",
    "perf_script_ipi_tlb_fixture.txt": "1 flushes of other CPUs in 1.9e-05 s: a rate needs at least 10",
    "perf_stat_make_j96_vmlinux.txt": "contains counts of perf stat without tlb:tlb_flush, no counts of flushes",
    "perf_top_tlb_flush.txt": "contains shares of samples of tlb:tlb_flush, no counts of flushes",
    "strace_c_munmap.txt": "contains times of system calls by strace -c",
    "stressng_tlb_shootdown_arm64.txt": "contains operations a second of stress-ng",
    "tracecmd_isolated_counts.txt": "contains function calls to other CPUs, counted by name, without seconds",
    "vmstat_ebizzy_after.txt": "one snapshot counts since boot",
    "vmstat_ebizzy_before.txt": "one snapshot counts since boot",
    "wis_lock2_spr_192.tsv": "contains means and deviations of a lock benchmark",
    "wis_page_fault1_16vcpu.csv": "contains operations a second of will-it-scale",
    "wis_pin_fast_256cpu.csv": "contains operations a second of will-it-scale",
}
TOGETHER = [  # inputs that are enough with one another or with --seconds, and what they say
    (
        ("interrupts_12cpu_before.txt", "interrupts_12cpu_after.txt"), 10,
        {"received": 321785, "most": 32500, "cpus": 12},
    ),
    (("interrupts_2vcpu_virtio.txt",), 1e5, {"received": 422209, "cpus": 2}),
    (("interrupts_4cpu_cal_wrapped.txt",), 1e6, {"received": 33514581, "cpus": 4, "kernel": "4.7"}),
    (("interrupts_8cpu_heavy.txt",), 1e6, {"received": 777021418, "most": 610846985, "cpus": 8, "kernel": None}),
    (
        ("vmstat_ebizzy_before.txt", "vmstat_ebizzy_after.txt", "ebizzy_output.txt"), None,
        {"sent": 912175, "received": 28261051, "seconds": 120, "busy": pytest.approx(31.944, abs=0.001),
         "pages": {FULL_PAGES: 912280}},
    ),
    (("bpftrace_tlb_flush_reasons.txt",), 10, {"sent": 42332, "received": 555818, "pages": None}),
    (
        ("bpftrace_tlb_flush_reasons.txt", "perf_stat_make_j96_vmlinux.txt"), None,
        {"sent": 42332, "seconds": pytest.approx(231.34), "busy": 49.601},
    ),
    (
        ("bpftrace_tlb_flush_reasons.txt", "perf_top_tlb_flush.txt", "lscpu_ampere_altra.txt"), 10,
        {"sent": 42332, "cpus": 80, "pages": pytest.approx({1: 9.38, 16: 0.88, FULL_PAGES: 0.71, 2: 0.6, 4: 0.1})},
    ),
    (("monitor_peaks_german.md", "lscpu_e_hybrid_12900k.txt"), None, {"received": 7687952, "seconds": 1, "cpus": 8}),
    (("lscpu_e_french.txt", "monitor_peaks_german.md"), None, {"received": 7687952, "cpus": 6}),
]  # fmt: skip


@beside
def test_every_input_has_an_outcome_here():
    assert {path.name for path in INPUTS.iterdir()} - {"README.md"} == set(ALONE)
    seen = {name for names, _, _ in TOGETHER for name in names}
    refused_for_good = {name for name, said in ALONE.items() if said and "contains" in said}
    assert set(ALONE) - seen - refused_for_good == {
        "lscpu_J_flat_288cpu.json", "lscpu_J_nested_i7_8565u.json", "perf_script_ipi_tlb_fixture.txt",
    }  # fmt: skip


@beside
@pytest.mark.parametrize("name", ALONE)
def test_an_input_alone_is_read_or_refused_by_name(name):
    if ALONE[name] is None:
        assert given(name).received == 7687952
        return
    with pytest.raises(BadInput) as refused:
        given(name)
    assert ALONE[name] in str(refused.value)
    assert str(refused.value).startswith(f"{name}: ")


@beside
@pytest.mark.parametrize(("names", "seconds", "says"), TOGETHER, ids=[names[0] for names, _, _ in TOGETHER])
def test_inputs_say_what_stands_in_them(names, seconds, says):
    counted = given(*names, seconds=seconds)
    assert {name: getattr(counted, name) for name in says} == says


@beside
def test_the_fixture_of_perf_script_holds_one_request_of_64_pages():
    traced = read_events((INPUTS / "perf_script_ipi_tlb_fixture.txt").read_text(), "f")
    assert traced.counts == {(1, 64): 1}
    assert traced.seconds == pytest.approx(20e-6 - 1e-6)


@beside
def test_quoted_printable_is_undone_and_lines_keep_their_numbers():
    text = (INPUTS / "ftrace_csd_ipi_quoted_printable.txt").read_text()
    assert "cpu=19\n" in plain(text)
    assert len(plain(text).splitlines()) == len(text.splitlines())
    assert plain("TLB: 1 2 =\n3 TLB\nCAL=3D\n").splitlines() == ["TLB: 1 2 3 TLB", "", "CAL="]


@pytest.mark.parametrize(
    ("text", "whole", "value"),
    [
        ("7.687.952", True, 7687952), ("11,474,982.05", False, 11474982.05), ("1.234", True, 1234),
        ("1.234", False, 1.234), ("10,5", False, 10.5), ("1\u202f234\u202f567", True, 1234567), ("1'234", True, 1234),
        ("1.234.567,89", False, 1234567.89), ("12,34", True, None), ("1,2,3", True, None), ("1.234,567.8", False, None),
    ],
)  # fmt: skip
def test_numbers_are_read_in_any_language(text, whole, value):
    assert number(text, whole) == value


PASTED = """> On Monday somebody wrote:
>             CPU0       CPU1
>       CPU2
>  TLB:  4294967290   7
>    9   TLB shootdowns
>  CAL:   1 2 3   Function call interrupts
>  ERR:   0
"""


def test_rows_are_pasted_quoted_wrapped_and_twice_in_one_text():
    second = PASTED.replace("4294967290", "4").replace("   9 ", "  19 ")
    before, after = snapshots(plain(PASTED + second), "mail")
    assert before == {"TLB": [4294967290, 7, 9], "CAL": [1, 2, 3], "ERR": [0]}
    assert between(before, after, "mail")["TLB"] == [10, 0, 10]  # 32 bits wide
    without = plain(PASTED).replace("CPU0       CPU1\n", "\n").replace("CPU2", "")
    assert snapshots(without, "mail") == [before]
    counted = read_flushes([("mail", PASTED + second)], 2.0, None)
    assert (counted.received, counted.most, counted.cpus) == (20, 10, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TLB: 1 2 TLB\nCAL: 1 2 3 Function\n", "f, line 1: row TLB has 2 counts for 3 CPUs"),
        ("CPU0 CPU1\nLOC: 1 2 x\nTLB: 1 TLB shootdowns\n", "f, line 3: row TLB has 1 counts for 2 CPUs"),
        ("LOC: 1 2 x\nTLB: 1,2 3 TLB shootdowns\n", "f, line 2: row TLB: '1,2' must be the count of a CPU"),
        ("TLB: TLB shootdowns\n", "f, line 1: row TLB has no counts"),
        ("           CPU0\nIPI1: 5 Function call interrupts\n", "f: no row TLB, which only x86 has"),
        ("TLB: 5 TLB\n\nTLB: 4 TLB\n", "f: row TLB went down: give the earlier file first"),
        ("TLB: 1 T\nTLB: 2 T\nTLB: 3 T\n", "f: too many files or snapshots with rows of /proc/interrupts"),
        ("TLB: 5 6 TLB\nTLB: 5 6 TLB\n", "f: 0 flushes of other CPUs in 3 s: a rate needs at least 10"),
        ("nr_tlb_remote_flush 12,5\nnr_tlb_remote_flush_received 5\n", "f, line 1: 'nr_tlb_remote_flush 12,5'"),
        ("nr_free_pages 12\nnr_dirty 5\n", "f: no nr_tlb_remote_flush and nr_tlb_remote_flush_received"),
        ("[001] 1.5: tlb:tlb_flush: pages:1 reason:remote (1)\nx tlb:tlb_flush: pages:1 rea", "f, line 2: must be"),
        ("@[4]: 7\n@[comm]: 3\n", "f, line 2: '@[comm]: 3': must be counts by reason of tlb:tlb_flush"),
        ("| TLB Shootdowns/s | 1.2.3 |\n", "f, line 1: no number of TLB shootdowns a second"),
        ("cpu 1 2 3\nTLB: 11 TLB\n", "f: no `cpu` line with eight modes"),
        ("TLB: 20 30 TLB\nCPU(s): 4\nThread(s) per core: 1\nSocket(s): 1\n", "f: 2 CPUs, but lscpu shows 4"),
        ("", "f: is empty"),
        ("nothing of the kind\n", "f: unknown format; give two snapshots"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_file_and_line(text, said):
    with pytest.raises(BadInput) as refused:
        read_flushes([("f", text)], 3.0, None)
    assert str(refused.value).startswith(said)


STAT = """ Performance counter stats for 'system wide':

         1.234.567      tlb:tlb_flush             #    0,123 K/sec
   <not supported>      cycles
         80.012,34 msec cpu-clock                 #    7,994 CPUs utilized            ( +-  0,04% )
             9.999      page-faults                                                   (66,60%)

      10,012345678 seconds time elapsed
"""


def test_perf_stat_is_read_as_people_see_it_and_by_fields_in_any_language():
    seen = read_perf(STAT, "f")
    assert (seen["tlb:tlb_flush"], seen[UTILIZED], "page-faults" in seen) == (1234567, 7.994, False)
    assert seen["duration_time"] == pytest.approx(10.012345678e9)
    for line in (
        "12,50,msec,task-clock,9,100,00,1,234,CPUs utilized",
        "12.5;msec;task-clock;9;100.00;1.234;CPUs utilized",
    ):
        assert read_perf(line, "f") == {"task-clock": 12.5e6, UTILIZED: 1.234}
    counted = read_flushes([("f", STAT)], None, None)
    first = loads(counted, 8)[0]
    assert (first.events_per_s, first.targets) == (pytest.approx(1234567 / 10.012 / 3, rel=1e-3), 1)


def test_reasons_and_pages_are_read_in_the_order_of_the_program():
    head = "sudo bpftrace -e 'tracepoint:tlb:tlb_flush { @[args->pages, args->reason] = count() }'\n"
    traced = read_maps(head + "@[-1, 4]: 10\n@[3, 4]: 30\n@[3, 1]: 7\n", "f")
    assert traced.pages == {FULL_PAGES: 10, 3: 30}
    assert (traced.of(4), traced.of(1, 5)) == (40, 7)


def test_senders_are_the_cpus_that_sent():
    line = "app 7 [{:03d}] d..1. 10.{:06d}: tlb:tlb_flush: pages:-1 reason:{}\n"
    text = "".join(line.format(cpu % 2, cpu, "remote ipi send (4)") for cpu in range(20))
    text += "".join(line.format(2 + cpu % 4, 100 + cpu, "remote shootdown (1)") for cpu in range(60))
    traced = read_events(text, "f")
    assert (traced.senders, traced.most, traced.of(4), traced.of(1)) == (2, 15, 20, 60)


def test_targets_that_are_not_counted_are_bounded_by_the_cpu_that_received_most():
    received = [100.0, 100.0, 50.0, 50.0]
    found = loads(Counted(received=sum(received), most=max(received), seconds=10), 4)
    assert found == [Load(30, 1), Load(15, 2), Load(10, 3)]  # 100 events at least, so 3 targets each at most
    assert loads(Counted(received=300, most=300, seconds=10), 4) == [Load(30, 1)]
    assert loads(Counted(sent=10, received=25, seconds=10), 4) == [Load(1, 2.5)]


CORES, RATE, SECONDS = 8, 40_000, 30


def test_counters_of_a_known_load_give_back_what_was_simulated():
    what = {"machine": "xeon_8160", "cores": CORES, "jobs": CORES, "sockets": 1, "threads_per_core": 2}
    known = sweep.simulate(
        **what, workload="kernel_ranges", rate_per_s=RATE, range_pages={1: 1}, policy="mm_shootdown_concurrent",
        replicas=1, window_events=4096, precision=0,
    ).iloc[0]  # fmt: skip
    sent = known["operations_per_s"] * SECONDS
    received = sent * (CORES - 1) / CORES  # by each CPU
    start = np.array([2**32 - 1000 * (cpu + 1) for cpu in range(CORES)])
    rows = [" ".join(map(str, counts)) for counts in (start, (start + round(received)) % 2**32)]
    interrupts = read_flushes([(each, f"TLB: {each} TLB shootdowns\n") for each in rows], SECONDS, None)
    assert loads(interrupts, CORES)[-1].events_per_s == pytest.approx(RATE, rel=0.01)
    assert loads(interrupts, CORES)[-1].targets == pytest.approx(CORES - 1, rel=0.01)
    text = "nr_tlb_remote_flush {:.0f}\nnr_tlb_remote_flush_received {:.0f}\n"
    snaps = [("f", text.format(5, 9)), ("f", text.format(5 + sent, 9 + received * CORES))]
    counted = read_flushes(snaps, SECONDS, None)
    (load,) = loads(counted, CORES)
    machine = machine_of(counted, CORES, "xeon_8160", [Path(sweep.__file__).parents[1] / "conf"])
    again = simulated(counted, [load], machine, CORES, CORES, None)
    mine = again[(again["times"] == 1) & (again["draw"] == 0) & (again["policy"] == "mm_shootdown_concurrent")].iloc[0]
    for name in ("overhead_share", "sender_overhead_share", "flush_wait_p50_ns", "operations_per_s"):
        assert mine[name] == pytest.approx(known[name], rel=0.05), name


BEFORE = "TLB: 100 200 300 400 TLB shootdowns\n"
AFTER = "TLB: 40100 30200 30300 20400 TLB shootdowns\n"


def test_the_command_answers_in_three_sentences_and_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lscpu.txt").write_text(
        "Vendor ID: AuthenticAMD\nModel name: AMD EPYC 7763 64-Core Processor\nCPU family: 25\nModel: 1\nCPU(s): 4\n"
        "Thread(s) per core: 2\nSocket(s): 1\n"
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((BEFORE + AFTER).encode())))
    assert main(["counters", "-", "--seconds", "10", "--lscpu", "lscpu.txt", "--kernel", "5.15.0"]) == 0
    first, second, third, blank, head, *rest = capsys.readouterr().out.splitlines()
    assert first == (
        "standard input, 10 s: 4,000 to 12,000 flush events a second notified 1 to 3 other CPUs each (their "
        "number was not counted: at most 3), which received 12,000 requests by interrupt a second."
    )
    assert second.startswith("Under mm_shootdown_reading (Linux 5.13 to 5.18) the busy CPUs, which all send, lose 0.")
    assert third.startswith("With 4 times the CPUs, 16, the busy CPUs, which all send, lose ")
    assert blank == ""
    assert head.split() == "CPUs policy senders lose all busy CPUs wait p50 wait p99".split()
    assert [row.split()[:2] for row in rest[:8]] == [
        [cpus, policy] for cpus in ("4", "16")
        for policy in ("mm_shootdown_concurrent", "mm_shootdown_reading", "mm_shootdown", "xpfo_broadcast")
    ]  # fmt: skip
    assert "epyc_milan, the nearest with the cores of AMD EPYC 7763" in "\n".join(rest)
    assert [path.name for path in tmp_path.iterdir()] == ["lscpu.txt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_file"], "FILE: No such file or directory: 'no_file'"),
        (["a", "b"], "b: has no duration: give --seconds"),
        (["a", "b", "--seconds", "0"], "--seconds=0: must be above 0"),
        (["a", "b", "--seconds", "1", "--kernel", "new"], "--kernel='new': must be a release like 6.1.0"),
        (["--lscpu", "a"], "--lscpu is of another host: give its counters, too"),
        (["a", "b", "--seconds", "1", "--jobs", "9"], "--jobs=9: the host has 4 CPUs"),
        (["a", "b", "--seconds", "1", "--jobs", "1"], "--jobs=1: must be at least 2"),
        (["a", "b", "--seconds", "1", "--machine", "xeon_816"], "did you mean 'xeon_8160'?"),
        (["maps", "--seconds", "1"], "maps: has no number of CPUs: give --lscpu FILE or --jobs N"),
        (["maps", "a", "b", "--seconds", "1"], "each flush notified 9 CPUs, so at least 10 are busy, not 4"),
    ],
)  # fmt: skip
def test_what_is_missing_or_contradicts_ends_with_two_and_a_sentence(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("a", BEFORE),
        ("b", AFTER),
        ("maps", "@[4]: 10\n@[1]: 90\n" if "a" in arguments else "@[4]: 99\n"),
    ):
        (tmp_path / name).write_text(text)
    assert main(["counters", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("text", "said"), [
    ("@[1]: 9999999999999999999999999\n@[4]: 9999999999999999999999999\n", "no kernel counts so many"),
    ("           CPU0       CPU1\n TLB:\n", "TLB"),
])  # fmt: skip
def test_counts_that_cannot_be_are_refused(tmp_path, capsys, text, said):
    path = tmp_path / "counts"
    path.write_text(text)
    assert main(["counters", str(path), "--seconds", "10", "--jobs", "4"]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_more_than_is_read_of_standard_input_is_refused_and_not_cut(monkeypatch, capsys):
    monkeypatch.setattr("sweep.measure.pasted.MOST_BYTES", 50)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((BEFORE + AFTER).encode())))
    assert main(["counters", "-", "--seconds", "10"]) == 2
    assert "standard input: must be at most 50 bytes" in capsys.readouterr().err
