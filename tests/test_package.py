"""What a package index and a citation show is the project's own, under one address."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
URLS = PROJECT["urls"]


def test_the_links_of_the_readme_are_relative_and_work_on_a_package_index_too():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    there = text
    for each in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        there = re.sub(each["pattern"], each["replacement"], there)
    links, shown = (re.findall(r"(!?)\[[^\]]*\]\(([^)]*)\)", each) for each in (text, there))
    assert len(links) > 10
    for (image, target), (_, absolute) in zip(links, shown, strict=True):
        assert (ROOT / target.partition("#")[0]).exists(), target
        assert absolute == f"{URLS['Repository']}/{'raw' if image else 'blob'}/main/{target}"


def test_the_addresses_of_the_package_are_parts_of_two():
    assert all(url.startswith((URLS["Repository"], URLS["Documentation"])) for url in URLS.values())
    assert URLS["Documentation"].endswith("/")
    assert not URLS["Repository"].endswith("/")


def test_the_citation_says_what_the_package_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == re.search(r"^## ([0-9.]+)", changelog, re.MULTILINE)[1]
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(PROJECT["name"])
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["repository-code"] == URLS["Repository"]
    assert citation["url"] == URLS["Documentation"]
