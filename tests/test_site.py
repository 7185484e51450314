"""The site's reference pages say what the code and conf/ say, and its links lead where the forge's do."""

import importlib.util
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sim.metrics import METRICS
from sim.parameters import PARAMETERS, Kind
from sim.policies import Policies
from sim.quantities import DERIVING
from sim.reading import reads
from sweep.inputs.catalog import Entry, catalog
from sweep.inputs.conf import conf_dir

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = PROJECT["urls"]["Repository"] + "/blob/main"
ENTRIES = [(group, entry) for group, entries in catalog([conf_dir()]).items() for entry in entries.values()]


def hook(name: str) -> ModuleType:
    """A hook of mkdocs, which loads it by its file."""
    spec = importlib.util.spec_from_file_location(f"docs_hooks_{name}", ROOT / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


for_the_site: Callable[[str, str], str] = hook("pages").for_the_site
refuse_what_is_loaded = hook("pages").on_post_page
PAGES: dict[str, str] = hook("reference").pages()


def rows(page: str) -> dict[str, list[str]]:
    """The cells of a page's tables, as text, by the name in the first one; each name once."""
    found = re.findall(r"^\| \[?`(\w+)`[^|]* \| (.*) \|$", page, re.MULTILINE)
    assert len({name for name, _ in found}) == len(found)
    return {name: [as_text(cell) for cell in re.split(r" \| ", rest)] for name, rest in found}


def as_text(markdown: str) -> str:
    """What a reader sees of Markdown that is all text."""
    return re.sub(r"\\(\W|_)", r"\1", markdown).strip()


def test_the_pages_of_parameters_and_metrics_have_each_with_its_unit_and_meaning():
    parameters, metrics = rows(PAGES["parameters.md"]), rows(PAGES["metrics.md"])
    assert list(parameters) == [*PARAMETERS, *DERIVING]
    for name, parameter in {**PARAMETERS, **DERIVING}.items():
        assert parameters[name][-1] == parameter.meaning
        assert parameters[name][0] == ("" if parameter.unit in ("1", "name", "pages: weight") else parameter.unit)
    for name, parameter in PARAMETERS.items():
        assert all(choice in parameters[name][1] for choice in parameter.choices)
        if parameter.default is not None:
            assert parameters[name][2] == str(parameter.default)
    assert {name: cells[-1] for name, cells in metrics.items()} == {
        name: metric.description for name, metric in METRICS.items()
    }


def test_the_page_of_policies_has_each_with_its_docstring_and_what_it_reads():
    _, *sections = re.split(r"^## `(\w+)` \{ #\1 \}$", PAGES["policies.md"].replace("\n\n", "\n"), flags=re.MULTILINE)
    assert sections[::2] == list(Policies())
    for name, section in zip(sections[::2], sections[1::2], strict=True):
        policy = Policies()[name]
        said = re.sub(r"^(\w+):", r"- **\1:**", (Policies().text(name) or "").strip(), flags=re.MULTILINE)
        assert " ".join(said.split()) in " ".join(as_text(section).split())
        read = reads(policy, Kind.BUILD if policy.build else Kind.LOOP)
        assert re.findall(r"parameters\.md#(\w+)", section) == list(read)


@pytest.mark.parametrize(("group", "entry"), ENTRIES, ids=lambda each: getattr(each, "name", each))
def test_the_page_of_a_machine_or_workload_has_each_number_with_its_interval_and_source(group: str, entry: Entry):
    text, *of_machines = re.split(r"^## On `(\w+)`$", PAGES[f"{group}/{entry.name}.md"], flags=re.MULTILINE)
    assert entry.title in as_text(text)
    assert rows(PAGES[f"{group}s.md"])[entry.name][0] == entry.title
    parts = {"": text, **dict(zip(of_machines[::2], of_machines[1::2], strict=True))}
    assert list(parts) == ["", *entry.machines]
    for machine, quantities in {"": entry.quantities, **entry.machines}.items():
        found = rows(parts[machine])
        assert list(found) == list(quantities)
        for name, quantity in quantities.items():
            value, interval, source = found[name]
            assert source == quantity.source
            bounds = [quantity.least, quantity.most] + [quantity.low, quantity.high] * quantity.uncertain
            assert all(f"{bound:g}" in interval.replace(",", "").split() for bound in bounds if bound is not None)
            if name != "range_pages":
                central = quantity.central
                assert value.split()[0] == (f"{central:g}" if isinstance(central, int | float) else str(central))


def test_there_is_a_page_for_each_machine_and_workload_and_for_nothing_else():
    assert {page for page in PAGES if "/" in page} == {f"{group}/{entry.name}.md" for group, entry in ENTRIES}


def test_text_means_nothing_to_markdown():
    for text in ("a_b_c", "*all*", "<tag>", "a | b", "[x](y)", "back\\slash"):
        assert as_text(hook("reference")._plain(text)) == text
        assert not re.search(r"(?<!\\)[_*<>|\[\]]", hook("reference")._plain(text))


@pytest.mark.parametrize(
    ("page", "link", "leads_to"),
    [
        ("index.md", f"{FILES}/docs/running.md", "running.md"),
        ("index.md", f"{FILES}/docs/model.md#a-deferral", "model.md#a-deferral"),
        ("index.md", f"{FILES}/benchmarks/README.md", "speed.md"),
        ("index.md", f"{FILES}/CHANGELOG.md", "changes.md"),
        ("index.md", f"{FILES}/LICENSE", f"{FILES}/LICENSE"),
        ("index.md", FILES.replace("/blob/", "/raw/") + "/docs/report.png", "report.png"),
        ("model.md", "results.md#columns", "results.md#columns"),
        ("model.md", "../README.md", "index.md"),
        ("model.md", "../sim/abi.py", f"{FILES}/sim/abi.py"),
        ("model.md", "#a-deferral", "#a-deferral"),
        ("speed.md", "broadcast.c", f"{FILES}/benchmarks/broadcast.c"),
        ("speed.md", "../docs/model.md", "model.md"),
        ("reference/machine/i5_3550.md", "../parameters.md#cores", "../parameters.md#cores"),
        ("index.md", PROJECT["urls"]["Documentation"] + "reference/policies.html#xpfo", "reference/policies.md#xpfo"),
        ("model.md", "https://www.kernel.org/", "https://www.kernel.org/"),
    ],
)
def test_a_link_leads_to_the_same_on_the_site_as_on_the_forge(page, link, leads_to):
    assert for_the_site(f"See [this]({link}).", page) == f"See [this]({leads_to})."


def test_code_stays_as_it_is_and_what_follows_its_language_is_its_title():
    block = "```python mine/x.py\nlinks[0](../README.md)\n```"
    assert for_the_site(block, "model.md") == block.replace(" mine/x.py", ' title="mine/x.py"')
    assert for_the_site("```python a call\nf()\n```", "model.md") == '```python title="a call"\nf()\n```'
    assert for_the_site("```sh\nsweep\n```", "model.md") == "```sh\nsweep\n```"


@pytest.mark.parametrize(
    "loaded",
    [
        '<script src="https://x.example/a.js">',
        "<script async src=http://x.example/a.js>",
        '<link rel="stylesheet" href="https://x.example/a.css">',
        "<link rel=preconnect href=https://x.example>",
        '<link href="//x.example/a.css" rel="stylesheet">',
        '<img alt="a" src="//x.example/a.png">',
    ],
)
def test_a_page_that_loads_from_another_server_is_refused(loaded):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="model.md"))
    with pytest.raises(ValueError, match=r"model\.md: loads from elsewhere"):
        refuse_what_is_loaded(f"<p>{loaded}</p>", page)
    links = '<a href="https://x.example">x</a> <link rel="canonical" href="https://x.example/">'
    refuse_what_is_loaded(f'<script src="a.js"></script> <img src="https.png"> {links}', page)
