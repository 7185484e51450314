"""Typed input: outside data is checked by a pydantic model, and a mistake becomes one sentence."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from sweep.errors import BadInput, did_you_mean
from sweep.inputs.reader import Document

Model = TypeVar("Model", bound="Checked")
LONGEST = 80  # characters of a value in a sentence
QUOTE = "'"
SAID = {  # by pydantic's kind of error
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "finite_number": "must be finite",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "model_type": "must be a mapping of keys and values",
    "dict_type": "must be a mapping of keys and values",
    "list_type": "must be a list",
}


class Checked(BaseModel):
    """A model that refuses unknown keys, and texts or truth values for numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Written(Checked):
    """Data that another version of this program may have written: unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=False, frozen=True)


def admit(model: type[Model], source: Document | Mapping[str, Any] | Any, where: str = "") -> Model:
    """A checked model; BadInput with key, value, allowed values, and line."""
    document = source if isinstance(source, Document) else Document(where, source)
    content = document.content
    if not isinstance(content, Mapping):
        raise BadInput(f"{document.where}: {shorten(content)}: must be a mapping of {', '.join(model.model_fields)}")
    odd = next((key for key in content if not isinstance(key, str)), None)
    if odd is not None:
        raise BadInput(f"{document.place((odd,))}: {odd!r}: a key must be a word; quote it")
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        raise BadInput(sentence(error, model, document)) from None


def sentence(error: ValidationError, model: type[BaseModel], document: Document) -> str:
    """The first mistake, in one line."""
    first = error.errors(include_url=False)[0]
    key = tuple(part for part in first["loc"] if not (isinstance(part, str) and "[" in part))
    place, name = document.place(key), ".".join(map(str, key))
    prefix = f"{place}: " if place else ""
    if first["type"] == "extra_forbidden":
        return f"{prefix}unknown key {name!r}{did_you_mean(str(key[-1]), _fields(model, key[:-1]))}"
    if first["type"] == "missing":
        return f"{prefix}{name}: not given"
    message = _allowed(first["type"], first.get("ctx", {}), str(first["msg"]))
    return f"{prefix}{name}={shorten(first['input'])}: {message}" if name else f"{prefix}{message}"


def _allowed(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in SAID:
        return SAID[kind].format(**context)
    if kind == "literal_error":
        return f"must be {str(context['expected']).replace(QUOTE, '')}"
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return "must be" + message.removeprefix("Input should be") if message.startswith("Input should be") else message


def shorten(value: Any) -> str:
    """A value for a sentence."""
    if value is None:
        return "null"
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # a number of too many digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _fields(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """The keys of a model, or of the model at `path` in it, also in a list or a mapping."""
    for part in path:
        field = model.model_fields.get(str(part))
        model = (_model_in(field.annotation) if field else None) or model  # an index keeps the model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model in an annotation like `list[Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
