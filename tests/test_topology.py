"""Another host: what its lscpu says in several forms and languages, and a matrix of times between its CPUs."""

import json
import re

import numpy as np
import pytest

from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir, paths_of
from sweep.measure.family import core_of, read_family
from sweep.measure.topology import by_distance, read_lscpu, read_matrix

MILAN = """\
Architecture:             x86_64
CPU(s):                   256
  On-line CPU(s) list:    0-255
Vendor ID:                AuthenticAMD
  Model name:             AMD EPYC 7763 64-Core Processor
    CPU family:           25
    Model:                1
    Thread(s) per core:   2
    Core(s) per socket:   64
    Socket(s):            2
Caches (sum of all):
  L3:                     512 MiB (16 instances)
NUMA:
  NUMA node0 CPU(s):      0-63,128-191
  NUMA node1 CPU(s):      64-127,192-255
"""
GERMAN = """\
Architektur:                   x86_64
CPU(s):                        48
Liste der Online-CPU(s):       0-47
Thread(s) pro Kern:            2
Kern(e) pro Socket:            24
Sockel:                        1
Anbieterkennung:               AuthenticAMD
Prozessorfamilie:              25
Modell:                        1
Modellname:                    AMD EPYC 7443 24-Core Processor
L3 Cache:                      32768K
"""
FRENCH = """\
Processeur(s) :                         8
Liste de processeur(s) en ligne :       0-7
Thread(s) par cœur :                    2
Cœur(s) par socket :                    4
Socket(s) :                             1
Identifiant constructeur :              GenuineIntel
Famille de processeur :                 6
Modèle :                                94
Nom de modèle :                         Intel(R) Core(TM) i7-6820HK CPU @ 2.70GHz
Cache L3 :                              8 MiB
Nœud NUMA 0 de processeur(s) :          0-7
"""
HEAD = "CPU NODE SOCKET CORE L1d:L1i:L2:L3 ONLINE MAXMHZ\n"


def extended(rows, online="yes"):
    """`lscpu -e` of rows of socket, core and L3."""
    lines = [f"{n} 0 {s} {c} {c}:{c}:{c}:{l3} {online} 4100,0000" for n, (s, c, l3) in enumerate(rows)]
    return HEAD + "\n".join(lines) + "\n"


def as_json(text, nested):
    fields = [{"field": f"{label.strip()}:", "data": value.strip()} for label, _, value in parted(text)]
    if nested:
        fields = [fields[0] | {"children": fields[1:]}]
    return json.dumps({"lscpu": fields})


def parted(text):
    return [line.partition(":") for line in text.splitlines()]


def sizes(host):
    return host.cpus, host.sockets, host.threads_per_core, host.cluster_cores


@pytest.mark.parametrize(
    "text", [MILAN, as_json(MILAN, True), as_json(MILAN, False)], ids=["plain", "nested JSON", "flat JSON"]
)
def test_an_epyc_has_its_clusters_in_every_form(text):
    host = read_lscpu(text, "f")
    assert sizes(host) == (256, 2, 2, 8)
    assert core_of(host, None, "f") == "zen3"
    assert not host.remarks
    counts = np.bincount(host.distances[0])
    assert counts.tolist() == [2, 14, 112, 128]  # siblings, itself among them; cluster; socket; the other socket
    assert host.distances[0, 128] == 0


@pytest.mark.parametrize(("text", "core", "cpus"), [(GERMAN, "zen3", 48), (FRENCH, "skylake", 8)])
def test_german_and_french_are_read(text, core, cpus):
    for form in (text, as_json(text, False)):
        host = read_lscpu(form, "f")
        assert (host.cpus, host.sockets, host.threads_per_core) == (cpus, 1, 2)
        assert core_of(host, None, "f") == core


def test_offline_cpus_do_not_count():
    rows = extended([(0, n % 4, 0) for n in range(6)], "oui") + "6 - - - ::: non\n7 0 0 3 3:3:3:0 nein\n"
    host = read_lscpu(FRENCH + rows, "f")
    assert sizes(host) == (6, 1, 2, None)
    assert "more than one kind" in host.remarks[0]  # two cores have one thread each
    some = read_lscpu(MILAN.replace("0-255", "0-127").replace("core:   2", "core:   1"), "f")
    assert sizes(some) == (128, 2, 1, 8)


def test_cores_of_two_kinds_are_said(tmp_path, capsys):
    rows = [(0, n // 2, 0) for n in range(16)] + [(0, 8 + n, 0) for n in range(8)]
    own = ["--config-dir", str(tmp_path / "own"), "--core", "sapphire_rapids"]
    (tmp_path / "e.txt").write_text(extended(rows))
    assert main(["machine", "--lscpu", str(tmp_path / "e.txt"), *own]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the model has one" in said
    text = (tmp_path / "own" / "machine" / "mine.yaml").read_text()
    assert f"# {said}" in text
    assert "cores: 24\n" in text


def test_sockets_that_number_their_cpus_in_turn_are_told_by_numa_nodes():
    text = MILAN.replace("0-63,128-191", ",".join(map(str, range(0, 256, 2)))).replace(
        "64-127,192-255", ",".join(map(str, range(1, 256, 2)))
    )
    host = read_lscpu(text, "f")
    assert host.places[:4, 0].tolist() == [0, 1, 0, 1]
    assert host.cpus == 256


def matrix(host, times, noise=0.02):
    """What core-to-core-latency prints: the lower triangle."""
    random = np.random.default_rng(0)
    value = np.array(times)[host.distances] * np.exp(noise * random.standard_normal(host.distances.shape))
    return "\n".join(
        ",".join(f"{value[row, to]:.3f}" if to < row else "" for to in range(host.cpus)) for row in range(host.cpus)
    )


def test_times_of_each_distance_are_found_in_a_matrix():
    host = read_lscpu(MILAN, "f")
    found = by_distance(read_matrix(matrix(host, [10, 23, 108, 198]), "m", 256), host, "m", "there")
    assert [each.central for each in found.values()] == pytest.approx([10, 23, 108, 198], rel=0.02)
    for time in found.values():
        assert np.log(time.high / time.low) == pytest.approx(2 * 1.645 * 0.02, rel=0.3)
        assert time.low < time.central < time.high


def test_unusual_numbers_need_the_extended_form():
    rows = extended([(0, n // 2, 0) for n in range(8)])
    known = read_lscpu(rows, "f")
    table = read_matrix(matrix(known, [7, 20, 20, 100]), "m", 8)
    assert by_distance(table, known, "m", "there")["line_sibling_ns"].central == pytest.approx(7, rel=0.05)
    with pytest.raises(BadInput, match="unusual numbers here: give `lscpu -e`"):
        by_distance(table, read_lscpu(FRENCH, "f"), "m", "there")


@pytest.mark.parametrize("text", [MILAN, GERMAN, FRENCH, MILAN + "Hypervisor vendor: KVM\n"])
def test_what_is_written_is_simulated(text, tmp_path, capsys):
    (tmp_path / "l.txt").write_text(text)
    host = read_lscpu(text, "f")
    (tmp_path / "m.csv").write_text(matrix(host, [10, 23, 108, 198]))
    own = ["--config-dir", str(tmp_path / "own")]
    words = ["machine", "--lscpu", str(tmp_path / "l.txt"), *own, "--name"]
    assert main([*words, "relative"]) == 0
    assert main([*words, "known", "--core-to-core", str(tmp_path / "m.csv")]) == 0
    machines = catalog([tmp_path / "own", conf_dir()])["machine"]
    for name, begins in (("relative", "family: "), ("known", "measured: ")):
        quantities = machines[name].quantities
        lines = [each for each in quantities if re.fullmatch("line_(sibling|cluster|socket)_ns", each)]
        assert len(lines) >= 2
        assert all(quantities[each].source.startswith(begins) for each in lines)
        point = [*own, "+grid=point", f"machine={name}", "policy=xpfo", f"cores={host.cpus}", "jobs=2"]
        assert main([*point, "dry_run=true"]) == 0
    assert machines["relative"].quantities["line_socket_ns"].low < machines["known"].quantities["line_socket_ns"].low
    capsys.readouterr()


def test_clusters_that_are_not_told_are_a_relatives(tmp_path, capsys):
    (tmp_path / "l.txt").write_text(GERMAN)
    assert main(["machine", "--lscpu", str(tmp_path / "l.txt"), "--config-dir", str(tmp_path / "own")]) == 0
    assert "8 cores each, as on epyc_milan" in capsys.readouterr().err
    assert "cluster_cores: 8\n" in (tmp_path / "own" / "machine" / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("", [], "no output of lscpu in English, German or French"),
        ("CPU(s): 4\n", [], "threads: not there: must be a line like `Thread(s) per core: 2`"),
        (FRENCH.replace("Socket(s) :                             1", "Socket(s) : x"), [], "sockets: x: must be"),
        (FRENCH.replace("0-7", "0-99999"), [], "must be a list of CPUs, like 0-3,8"),
        (FRENCH.replace("0-7", "0-8999"), [], "9000 CPUs are online: must be from 1 to 4096"),
        ('{"lscpu": [', [], "must be JSON as of `lscpu -J`"),
        (HEAD, [], "no output of lscpu"),
        (HEAD + "0 - - - ::: no\n", [], "no CPU that is online"),
        (extended([(0, 0, 0), (0, 1, 0)]), [], "the processor has no name: give --core NAME; there are: haswell"),
        (FRENCH.replace(" 94", " 7").replace("i7-6820HK", "new"), [], "has no core file: give --core NAME"),
        (FRENCH, ["--core", "zen33"], "--core='zen33': no such core; did you mean 'zen3'?"),
        (FRENCH, ["--name", "no/name"], "--name='no/name': must be small letters"),
        (FRENCH, ["--core-to-core", "none.csv"], "No such file or directory: 'none.csv'"),
        (FRENCH, ["--core-to-core", "{short}"], "has 2 rows: must have 8 rows and columns"),
        (FRENCH, ["--core-to-core", "{words}"], "line 2: 'fast': must be a time in ns, or blank"),
        (FRENCH, ["--core-to-core", "{blank}"], "has no time between two CPUs"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_nothing_is_written(text, more, message, tmp_path, capsys):
    matrices = {"short": ",\n5,\n", "blank": ",,,,,,,\n" * 8, "words": ",,,,,,,\nfast,,,,,,,\n" + ",,,,,,,\n" * 6}
    for name, content in matrices.items():
        (tmp_path / name).write_text(content)
    given = [each.format(**{name: str(tmp_path / name) for name in matrices}) for each in more]
    (tmp_path / "l.txt").write_text(text)
    words = ["machine", "--lscpu", str(tmp_path / "l.txt"), "--config-dir", str(tmp_path / "own"), *given]
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("sweep: --")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "own").exists()


PROCESSORS = {
    "AuthenticAMD 23/49 AMD EPYC 7742 64-Core Processor": "zen2",
    " / AMD EPYC 7R32": "zen2",
    "AuthenticAMD 25/17 AMD EPYC 9654 96-Core Processor": "zen4",
    " / AMD EPYC 9R14": "zen4",
    " / AMD EPYC-Milan Processor": "zen3",
    "AuthenticAMD 25/33 AMD Ryzen 9 5950X 16-Core Processor": "zen3",
    "AuthenticAMD 25/97 AMD Ryzen 9 7950X 16-Core Processor": "zen4",
    "AuthenticAMD 26/2 AMD EPYC 9755 128-Core Processor": "zen4",
    "GenuineIntel 6/62 Intel(R) Xeon(R) CPU E5-2697 v2 @ 2.70GHz": "ivy_bridge",
    " / Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz": "haswell",
    " / Intel(R) Xeon(R) Platinum 8160 CPU @ 2.10GHz": "skylake",
    " / Intel(R) Xeon(R) Platinum 8275CL CPU @ 3.00GHz": "skylake",
    " / Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz": "ice_lake",
    " / Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz": "sapphire_rapids",
    "GenuineIntel 6/142 Intel(R) Core(TM) i7-8565U CPU @ 1.80GHz": "skylake",
    " / Intel(R) Core(TM) i7-8565U CPU @ 1.80GHz": "skylake",
    " / 12th Gen Intel(R) Core(TM) i9-12900K": "sapphire_rapids",
    " / Intel(R) Core(TM) i5-3550 CPU @ 3.30GHz": "ivy_bridge",
    "ARM /1 Neoverse-N1": "neoverse_n1",
    "ARM /1 Neoverse-V2": "neoverse_v1",
    "HiSilicon /0 Kunpeng-920": "tsv110",
    " /2.3 (pvr 004e 1203) POWER9, altivec supported": "power9",
    "AuthenticAMD 15/107 AMD Athlon(tm) Dual Core Processor 4050e": None,
}


@pytest.mark.parametrize(("processor", "core"), PROCESSORS.items())
def test_processors_have_the_core_of_their_family(processor, core):
    rows = read_family()["cores"]
    found = next((row["core"] for row in rows if re.search(row["pattern"], processor, re.IGNORECASE)), None)
    assert found == core


def test_every_core_of_the_table_is_a_file():
    assert {row["core"] for row in read_family()["cores"]} <= {*paths_of("core", [conf_dir()])}
