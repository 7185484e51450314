"""The only reader of YAML, of version 1.2: `1e3` is a number, `010` is ten, and `on` and `1:30` are text.

Files of other people are data: they must not use all memory, refer to themselves, or read the environment.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import normalize

import yaml

from sweep.errors import BadInput, printable

MOST_BYTES = 1_000_000
MOST_DEPTH = 40
MOST_NODES = 100_000  # with expanded aliases
MOST_DIGITS = 30  # of a whole number
NAME = re.compile(r"[^\W_][\w.+-]*")  # of a file: letters and digits, `.`, `_`, `-`, `+` inside
NAMED = ("policy", "machine", "workload", "costs", "runner")  # keys with names as values, which stay text
RESOLVER = re.compile(r"\$\{[^}]*:")  # `${oc.env:HOME}`; `${cores}` stays


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: Mapping[str, list[tuple[str, re.Pattern[str]]]] = {}


_SCALARS = (  # YAML 1.2, 10.3.2: plain scalars, and their first characters
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
)
_Loader.yaml_implicit_resolvers = {}
for _tag, _form, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), _first)


def _whole(loader: Any, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    if len(text) > MOST_DIGITS:
        raise yaml.constructor.ConstructorError(None, None, f"a number of {len(text)} digits", node.start_mark)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text[2:] if base != 10 else text, base)


def _float(loader: Any, node: yaml.ScalarNode) -> float:
    text = str(node.value).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, dict | list):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a word or a number", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
        seen[key] = _text(value_node) if key in NAMED else loader.construct_object(value_node, deep=True)
    return seen


def _text(node: yaml.Node) -> Any:
    """A name or a list of names, taken literally."""
    if isinstance(node, yaml.SequenceNode):
        return [_text(item) for item in node.value]
    return _string(None, node) if isinstance(node, yaml.ScalarNode) else None


def _string(loader: Any, node: yaml.ScalarNode) -> str:
    """A text, without resolvers: other people's files must not read the user's environment."""
    text = str(node.value)
    if RESOLVER.search(text):
        problem = f"{text!r}: must not use a resolver like ${{oc.env:...}}; give the value on the command line"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return text


_Loader.add_constructor("tag:yaml.org,2002:str", _string)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _no_data(loader: Any, node: yaml.Node) -> None:
    kind = node.tag.rpartition(":")[2]
    raise yaml.constructor.ConstructorError(None, None, f"!!{kind}: must be text, a number, a list or a mapping",
                                            node.start_mark)  # fmt: skip


for _tag in ("set", "timestamp", "binary", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _no_data)


@dataclass(frozen=True)
class Document:
    """The content of a file, and the line of each key."""

    where: str
    content: Any
    lines: Mapping[tuple[Any, ...], int] = field(default_factory=dict)

    def place(self, key: tuple[Any, ...]) -> str:
        """The place of a key, as precisely as known: `grid/mine, line 3`."""
        for length in range(len(key), 0, -1):
            if (line := self.lines.get(tuple(key[:length]))) is not None:
                return f"{self.where}, line {line}"
        return self.where


def read_yaml(path: Path, where: str) -> Document:
    """The single document of a file; BadInput with file and line if it is no YAML, too large, or no plain data."""
    return parse_yaml(read_text(path, where), where)


def read_text(path: Path, where: str) -> str:
    """A file's text, without a byte-order mark; BadInput if it cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{where}: {path.stat().st_size} bytes: must be at most {MOST_BYTES}")
        return normalize("NFC", path.read_text(encoding="utf-8-sig"))  # so that names have one form
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: must be UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise BadInput(f"{where}: cannot be read: {error.strerror or error}") from None


def parse_yaml(text: str, where: str) -> Document:
    """The single document of a text."""
    try:
        _check_size(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(where, None)
        return Document(where, loader.construct_document(node), dict(_lines(node, ())))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise BadInput(f"{where}{line}: {' '.join(problem.split())}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise BadInput(f"{where}: must be YAML: {' '.join(str(error).split())[:200]}") from None


def question_of(path: Path) -> str:
    """The question of a grid: a comment at its beginning; empty without one."""
    with suppress(OSError), path.open(encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            text = line.strip()
            if text.startswith("#"):
                return printable(text.lstrip("#").strip())
            if text and not text.startswith(("---", "%YAML")):
                break
    return ""


def names_in(folder: Path) -> dict[str, Path]:
    """The YAML files of a folder by name, without hidden files, folders, and names that a user could not give."""
    named = {normalize("NFC", path.stem): path for path in sorted(folder.glob("*.yaml"))}
    return {name: path for name, path in named.items() if NAME.fullmatch(name) and os.path.isfile(path)}


def _check_size(text: str) -> None:
    """MarkedYAMLError if a text needs too much depth or memory, with expanded aliases."""
    sizes: dict[str, int] = {}  # nodes of an anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and nodes before it
    nodes = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.MarkedYAMLError(problem=f"*{event.anchor} refers to itself", problem_mark=event.start_mark)
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, nodes - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = nodes - before
        if nodes > MOST_NODES or len(open_nodes) > MOST_DEPTH:
            limit = f"at most {MOST_NODES} values, {MOST_DEPTH} deep, with expanded aliases"
            raise yaml.MarkedYAMLError(problem=f"is too large: {limit}", problem_mark=event.start_mark)


def _lines(node: yaml.Node, key: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            here = (*key, getattr(key_node, "value", None))
            yield here, key_node.start_mark.line + 1
            yield from _lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*key, number), value.start_mark.line + 1
            yield from _lines(value, (*key, number))
