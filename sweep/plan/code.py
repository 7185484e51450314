"""The hash of the code that turns a point into numbers: of its syntax trees, without comments and docstrings.

That code is all of `sim`, the user's own policies, and `sweep.plan.points` with every module that it imports, which
decode a point, draw its costs and derive parameters from quantities.

Parsing takes a third of a second, so the hash is kept in the user's cache, under the digest of all files read.
"""

import ast
import hashlib
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from sim.machine.compiled.cache import not_private, own_cache
from sim.policies import policy_files
from sweep.inputs.home import write_own

ROOT = Path(__file__).resolve().parent.parent.parent  # of `sim` and `sweep`
FIRST = "sweep.plan.points"  # decodes points
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
UNREAD = {"ctx", "type_comment", "kind", "type_params", "type_ignores"}  # no effect on numbers, or added by versions


@lru_cache(maxsize=8)
def code_hash(policy_path: str | None = None, root: Path = ROOT) -> str:
    """The hash of the code below `root`, and of the user's own policies."""
    folder = own_cache()
    if folder is None:
        return parsed_hash(policy_path, root)
    read = _digest_of_bytes(policy_path, root)
    kept = folder / f"code-{read[:16]}"
    with suppress(OSError, ValueError):
        answer, seal = kept.read_text(encoding="ascii").split()
        if not not_private(kept) and seal == _seal(read, answer):
            return answer
    answer = parsed_hash(policy_path, root)
    with suppress(OSError):
        write_own(kept, f"{answer} {_seal(read, answer)}\n")
    return answer


def parsed_hash(policy_path: str | None = None, root: Path = ROOT) -> str:
    """The hash, without the cache."""
    digest = hashlib.sha256()
    for name, path in _files(policy_path, root):
        tree = ast.parse(path.read_bytes(), name)
        digest.update(name.encode() + b"\0" + "".join(_words(tree)).encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _digest_of_bytes(policy_path: str | None, root: Path) -> str:
    """The digest of every file that may be hashed: only parsing finds those of `sweep`. This module is one of them."""
    files = [path for package in ("sim", "sweep") for path in (root / package).rglob("*.py") if path.is_file()]
    named = [(path.relative_to(root).as_posix(), path) for path in files]
    named += [(f"own/{path.name}", path) for path in (policy_files(policy_path).values() if policy_path else ())]
    digest = hashlib.sha256(platform.python_version().encode())
    for name, path in sorted(named):
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _seal(read: str, answer: str) -> str:
    """A digest kept with a hash, which proves that it belongs to the files read and is complete."""
    return hashlib.sha256(f"{read} {answer}".encode()).hexdigest()


def _files(policy_path: str | None, root: Path) -> list[tuple[str, Path]]:
    files = {path.relative_to(root).as_posix(): path for path in (root / "sim").rglob("*.py")}
    files |= {path.relative_to(root).as_posix(): path for path in _imported(root)}
    if policy_path:
        files |= {f"own/{path.name}": path for path in policy_files(policy_path).values()}
    return sorted(files.items())


def _imported(root: Path) -> set[Path]:
    """The module FIRST and those of `sweep` that it imports, recursively."""
    modules = {".".join(path.relative_to(root).with_suffix("").parts): path for path in (root / "sweep").rglob("*.py")}
    reached: set[Path] = set()
    waiting = [FIRST]
    while waiting:
        path = modules.pop(waiting.pop(), None)  # None: reached already, or no module
        if path is not None:
            reached.add(path)
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return reached


def _words(node: ast.AST) -> Iterator[str]:
    """A syntax tree in words, independent of layout, comments, docstrings and Python version."""
    yield f"({type(node).__name__}"
    for name, value in ast.iter_fields(node):
        if name in UNREAD or value is None or value == []:
            continue
        if name == "body" and isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            value = value[1:]
        yield f" {name}="
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from _words(part)
            else:
                yield f"{type(part).__name__}:{part!r} "
    yield ")"
