"""The user's own policies are first tried in a separate process, so that their files cannot end a sweep."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from sim.policies import policy_files
from sim.policy import Check, Mark, Policy
from sweep.errors import BadInput, did_you_mean

ROOT = Path(__file__).resolve().parent.parent.parent  # of `sim` and `sweep`
DEADLINE_S = 20.0
WORDS = {kind.__name__: [field.name for field in fields(kind)] for kind in (Policy, Mark, Check)}
SCRIPT = """
import sys
from sim.policies import Policies
from sim.reading import reads
reads(Policies(sys.argv[1])[sys.argv[2]])
sys.stdout.write("tried")
"""


def try_policy(folder: str, name: str, where: str) -> None:
    """BadInput if importing a policy's file fails, ends the process, or takes too long."""
    path = policy_files(folder).get(name)
    if path is None:
        return
    about = path.stat()
    if wrong := _try(folder, name, about.st_mtime_ns, about.st_size):
        raise BadInput(f"{where}: policy={name!r}: its file does not work: {wrong}")


@lru_cache(maxsize=256)
def _try(folder: str, name: str, mtime_ns: int, size: int) -> str:
    """The error of a file in its present state; empty without an error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    try:
        tried = subprocess.run(
            [sys.executable, "-P", "-c", SCRIPT, folder, name], capture_output=True, text=True, errors="replace",
            timeout=DEADLINE_S, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"importing it took more than {DEADLINE_S:.0f} s"
    if tried.returncode == 0 and tried.stdout.endswith("tried"):
        return ""
    lines = tried.stderr.strip().splitlines()
    if lines and not lines[-1].startswith(" "):
        return _in_words(" ".join(lines[-1].split()))[:300]
    return f"importing it ended the process with exit code {tried.returncode}"


def _in_words(error: str) -> str:
    """Python's error about a policy's unknown word, in the form for any unknown key."""
    unknown = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", error)
    if unknown is None or unknown[1] not in WORDS:
        return error
    return f"{unknown[1]}: unknown word {unknown[2]!r}{did_you_mean(unknown[2], WORDS[unknown[1]])}"
