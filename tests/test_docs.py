"""Every command and snippet of README.md and docs/ does what it says there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import sim.policies
from sweep.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = ["window_events=320", "precision=0.1", "replicas=2"]


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, what follows it, and text of every fenced block that has a language."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def do(words: list[str]) -> str:
    """Run a command of the docs in this process, windows cut short; what it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if words[0] == "sweep":
            run = any(word.startswith("+grid=") for word in words)
            small = SMALL if run and not {"dry_run=true", "--cfg"} & set(words) else []
            assert main([*words[1:], *small, *(["runner=serial"] if run else [])]) == 0, words
        else:
            assert words == ["eval", "$(sweep --completion)"], f"no test knows how to run {words}"
            assert main(["--completion"]) == 0
    return said.getvalue()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: Any, sweep_in: Any) -> Path:
    """A folder with a run like the patch's in outputs/mine."""
    monkeypatch.chdir(tmp_path)
    sweep_in("+grid=patch", *SMALL, out=tmp_path / "outputs" / "mine")
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
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


def test_every_page_has_something_that_runs():
    assert {page.name for page in PAGES if blocks(page)} >= {"README.md", "model.md", "adding.md", "validation.md"}


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_report_and_the_docs_name_the_same_gaps():
    from sweep.report.caveats import CAVEATS, NOT_MODELLED

    for page in (ROOT / "README.md", ROOT / "docs" / "model.md"):
        text = page.read_text(encoding="utf-8").lower()
        assert all(each.lower() in text for each in NOT_MODELLED), page.name
    numbered = re.findall(r"^\d+\. ", (ROOT / "docs" / "validation.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(numbered) == len(CAVEATS)
