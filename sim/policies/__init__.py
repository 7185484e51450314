"""Policies by file name: those of the package, and those in a folder of the user."""

import ast
import hashlib
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from sim.policy import Policy

NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")  # the name of a policy's file without .py


class NoSuchPolicy(KeyError, ValueError):
    """There is no file of that name."""

    def __str__(self) -> str:
        return str(self.args[0])


class Policies(Mapping[str, Policy]):
    """Policies by name: those of the folder come before those of the package; each is loaded at its first use.

    An exception in a file passes through. Raises ValueError or TypeError, in a sentence, where a file has no policy
    that an engine models, and NoSuchPolicy, a KeyError and ValueError, where there is no such file.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._own = policy_files(folder) if folder is not None else {}
        self._package = {name: path for part in __path__ for name, path in policy_files(part).items()}

    def __getitem__(self, name: str) -> Policy:
        path = self.path(name)
        if name not in self._own:
            return _policy_of(importlib.import_module(f"{__name__}.{name}"))
        seen = path.stat()
        return _load(str(path), seen.st_mtime_ns, seen.st_size)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own, *self._package}))

    def __len__(self) -> int:
        return len({*self._own, *self._package})

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._package

    @property
    def hidden(self) -> list[str]:
        """The policies of the package that a file of the folder replaces."""
        return sorted({*self._own} & {*self._package})

    def path(self, name: str) -> Path:
        """The file of a policy."""
        if name not in self:
            rule = "a policy's name is letters, digits and _, with a letter first"
            raise NoSuchPolicy(f"policy={name!r}: {'no such policy' if NAME.fullmatch(name) else rule}")
        return self._own.get(name) or self._package[name]

    def title(self, name: str) -> str:
        """The first line of a policy's docstring."""
        return self.text(name).partition("\n")[0]

    def text(self, name: str) -> str:
        """The docstring of a policy, read without running its file."""
        return ast.get_docstring(ast.parse(self.path(name).read_bytes())) or ""


def policy_files(folder: str | Path) -> dict[str, Path]:
    """The files of policies in a folder, by policy, without hidden files and names that no policy can have."""
    files = {path.stem: path for path in sorted(Path(folder).glob("*.py")) if NAME.fullmatch(path.stem)}
    return {name: path for name, path in files.items() if path.is_file()}


@lru_cache(maxsize=1024)
def _load(file: str, mtime_ns: int, size: int) -> Policy:
    """A policy of the user, from the current state of its file.

    The module is in sys.modules only while it is executed, so that pickling includes its functions and a worker needs
    no file. There is no bytecode cache, since it distinguishes files by whole seconds only.
    """
    name = f"own_policy_{Path(file).stem}_{hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module  # dataclasses need it there
    try:
        exec(compile(Path(file).read_bytes(), file, "exec"), vars(module))
        return _policy_of(module)
    finally:
        del sys.modules[name]


def _policy_of(module: ModuleType) -> Policy:
    """The policy of a module."""
    policy = getattr(module, "POLICY", None)
    if isinstance(policy, Policy):
        return policy
    wrong = "there is no POLICY" if policy is None else f"POLICY={policy!r}"
    raise TypeError(f"{wrong}: write POLICY = Policy(local=Local.FIRST, ...), as docs/adding.md shows")
