"""Faults of `program.toml` and of settings as a person reads them: pydantic's own words speak of tuples and inputs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_SECTION, _SWITCH = "expected a section [{key}]", "expected true or false"
_NUMBER, _WHOLE = "expected a number", "expected a whole number"
_WORDS = {
    "missing": "missing; expected a value", "tuple_type": 'expected a list, such as ["…"]',
    "model_type": _SECTION, "dict_type": _SECTION, "string_type": "expected text in quotation marks",
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE, "float_type": _NUMBER,
    "float_parsing": _NUMBER, "finite_number": "expected a finite number", "bool_type": _SWITCH,
    "bool_parsing": _SWITCH, "literal_error": "expected {expected}",
    "greater_than": "expected more than {gt:g}", "greater_than_equal": "expected at least {ge:g}",
    "less_than": "expected less than {lt:g}", "less_than_equal": "expected at most {le:g}"}


def in_words(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What was expected where pydantic found this fault in a `model`; its own words where there are no better ones."""
    if error["type"] == "extra_forbidden":
        return f"there is no such name; expected {_known(model, error['loc'])}"
    said = _WORDS.get(error["type"])
    if said is None:
        return error["msg"].removeprefix("Value error, ")
    return said.format(key=".".join(str(part) for part in error["loc"]), **error.get("ctx", {}))


def _known(model: type[BaseModel], place: Sequence[int | str]) -> str:
    """The names allowed where this one stands: the nearest, or all of them."""
    found: Any = model
    for part in place[:-1]:
        found = _inside(found, str(part))
    names = list(found.model_fields)
    close = difflib.get_close_matches(str(place[-1]), names, n=1)
    return close[0] if close else ("one of " if len(names) > 1 else "") + ", ".join(names)


def _inside(outer: Any, part: str) -> type[BaseModel]:
    """The model of one part of a model, or of the items of a table or list of models."""
    kind = outer.model_fields[part].annotation if part in getattr(outer, "model_fields", {}) else outer
    return next(_models(kind))


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _models(inner)
