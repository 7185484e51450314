"""Every command and snippet of README.md and docs/ does what it says there."""

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import sim.policies
from sweep.__main__ import main
from sweep.command.verbs import VERBS
from tests import columns_table
from tests.conftest import changed

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*sorted({*PAGES, *ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md")}), *sorted((ROOT / "deploy").iterdir())]
FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLAIN_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NAMED_FILE = re.compile(r"`((?:benchmarks|conf|deploy|docs|sim|sweep|tests)/[\w./-]*)`")
SMALL = ["window_events=320", "precision=0.1", "replicas=2", "runner=serial"]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def ids(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, what follows it, and text of every fenced block that has a language."""
    return FENCE.findall(read(page))


def commands(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", "").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def do(words: list[str]) -> str:
    """Run a command of the docs in this process, windows cut short and draws few; what it printed."""
    if words == ["eval", "$(sweep --completion)"]:
        words = ["sweep", "--completion"]
    assert words[0] == "sweep", f"no test knows how to run {words}"
    run = any(word.startswith("+grid=") for word in words) and not {"dry_run=true", "--cfg"} & set(words)
    few = ["draws=2"] if {"+grid=validation", "+grid=cores", "+grid=isolated"} & set(words) else []
    few += ["warmup_events=80"] if "+grid=isolated" in words else []  # in place of a second at every rate
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(changed(*words[1:], *(SMALL if run else []), *few) if run else words[1:]) == 0, words
    return said.getvalue()


@pytest.fixture(scope="module")
def run_of_the_patch(tmp_path_factory: pytest.TempPathFactory, sweep_in: Any) -> Path:
    """The folder of a run like the patch's."""
    return sweep_in("+grid=patch", *SMALL, out=tmp_path_factory.mktemp("mine") / "run")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: Any, run_of_the_patch: Path) -> Path:
    """A folder with that run in outputs/mine, and in outputs/other."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "other"):
        shutil.copytree(run_of_the_patch, tmp_path / "outputs" / name)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_snippet_runs(page, elsewhere, monkeypatch):
    (elsewhere / "sim" / "policies").mkdir(parents=True)
    monkeypatch.setattr(sim.policies, "__path__", [*sim.policies.__path__, str(elsewhere / "sim" / "policies")])
    for language, about, text in blocks(page):
        if about.endswith((".py", ".yaml")):
            (elsewhere / about).parent.mkdir(parents=True, exist_ok=True)
            (elsewhere / about).write_text(text, encoding="utf-8")
        elif language == "python":
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(text, f"{page.name}, {about}", "exec"), {})
            assert said.getvalue().strip()
        elif language == "sh":
            for words in commands(text):
                assert do(words).strip(), words
        else:
            pytest.fail(f"no test knows how to run a block of {language}")


def test_the_pages_with_something_that_runs_are_known():
    expected = (
        "README adding calibration model model-guests model-isolated model-locks results running validation".split()
    )
    assert sorted(page.stem for page in PAGES if blocks(page)) == expected


def test_the_readme_stays_short():
    """Words are what whitespace separates, outside fenced blocks and comments; those of tables and links count."""
    text = read(ROOT / "README.md")
    words = len(re.sub("<!--.*?-->", "", PLAIN_FENCE.sub("", text)).split())
    assert words <= 600, f"README.md has {words} words"
    assert len(text.splitlines()) <= 120


@pytest.mark.parametrize("page", TEXTS, ids=ids(TEXTS))
def test_every_link_between_pages_leads_somewhere(page):
    for target, _, heading in re.findall(r"\]\(([^)#]*)(#([^)]+))?\)", read(page)):
        there = page.parent / target if target else page
        if re.match("https?:", target):
            continue
        assert there.exists(), target
        if heading:
            heads = re.findall(r"^#+ (.*)$", PLAIN_FENCE.sub("", read(there)), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert heading in slugs, f"{target}#{heading}: no such heading"


@pytest.mark.parametrize("page", TEXTS, ids=ids(TEXTS))
def test_every_file_module_and_verb_that_a_page_names_is_there(page):
    text = read(page)
    if page.name == "CHANGELOG.md":  # its last lines say what the old modules became
        text = text.replace("python -m sweep.report", "")
    for name in NAMED_FILE.findall(text):
        made_there = f" {name}\n" in text  # a file that the page itself shows
        assert made_there or (ROOT / name).exists(), name
    for module in re.findall(r"python -m ((?:sweep|tests|benchmarks)[\w.]*)", text):
        assert importlib.util.find_spec(module), module
    for verb in re.findall(r"(?:`|^|python -m )sweep ([a-z]\w*)\b(?![=.])", text, re.MULTILINE):
        assert verb in VERBS, f"sweep {verb}"


@pytest.mark.parametrize("name", columns_table.PAGES)
def test_the_tables_that_follow_from_the_code_are_those_of_the_code(name):
    page = read(ROOT / "docs" / name)
    assert columns_table.rewritten(name) == page, f"docs/{name} is stale; rewrite it: {columns_table.COMMAND}"


def test_the_report_and_the_docs_name_the_same_gaps():
    from sweep.report.caveats import CAVEATS, NOT_MODELLED

    text = read(ROOT / "docs" / "model.md").lower()
    assert all(each.lower() in text for each in NOT_MODELLED)
    numbered = re.findall(r"^\d+\. ", read(ROOT / "docs" / "validation.md"), re.MULTILINE)
    assert len(numbered) == len(CAVEATS)
