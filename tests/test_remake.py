"""The numbers and pictures of README.md and docs/ are those that this version of the model gives."""

import re
import subprocess
import sys

import pytest

from docs import remake
from sweep.command import usage
from sweep.plan.open import open_plan

LARGEST = 150_000  # bytes of a picture
BLOCKS = [(page, *block) for page in dict.fromkeys(page for page, _ in remake.TEXTS) for block in remake.blocks(page)]


def test_every_text_that_is_made_has_its_place():
    assert [(page, name) for page, name, *_ in BLOCKS] == list(remake.TEXTS)


@pytest.mark.parametrize("name", dict.fromkeys(remake.grid(name) for _, name, *_ in BLOCKS))
def test_the_numbers_on_the_pages_are_of_the_command_there_and_of_this_model(name):
    """By the plan's hash, which covers both; `--check` runs the commands."""
    request = usage.read(remake.commands()[name])
    assert request is not None
    made_by = open_plan(request.composition).hash
    for page, block, plan, _ in BLOCKS:
        if remake.grid(block) == name:
            assert made_by.startswith(plan), f"{page}: {block} is stale; rewrite it: {remake.COMMAND}"


def test_pictures_are_small_and_load_nothing():
    for name in ("cost.png", "report.png", "terminal.svg"):
        assert 0 < (remake.DOCS / name).stat().st_size < LARGEST, name
    drawn = (remake.DOCS / "terminal.svg").read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|href", drawn)
    assert remake.blocks("README.md")
    patch = next(plan for _, name, plan, _ in BLOCKS if name == "patch")
    assert f"outputs/patch/{patch}" in drawn


@pytest.mark.long
def test_the_commands_print_what_stands_on_the_pages():
    done = subprocess.run([sys.executable, "-m", "docs.remake", "--check"], cwd=remake.ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
