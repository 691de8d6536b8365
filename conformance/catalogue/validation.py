"""Validate a part of a YAML document by a pydantic model: return the model, or every problem at its place."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from conformance.model.suggestions import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from conformance.catalogue.yaml_source import Document, Path
    from conformance.model.errors import Problem

__all__ = ["first_problem", "validate"]

M = TypeVar("M", bound=BaseModel)

# pydantic adds this to the path when a key of a mapping, and not its value, is wrong.
_KEY = "[key]"


def validate(
    model: type[M], document: Document, data: object, path: Path = (), *, subject: str = ""
) -> tuple[M | None, list[Problem]]:
    """Validate `data`, which is at `path` of the document, by `model`; nothing is raised.

    Args:
        model: what the data should be.
        document: where it was read, for the locations of problems.
        data: the part of the document's data at `path`.
        path: keys and indices from the root of the document.
        subject: ends each message, e.g. "in case 'views.add'".
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, [_problem(model, document, path, subject, detail) for detail in error.errors(include_url=False)]


def first_problem(model: type[BaseModel], error: ValidationError) -> str:
    """Return the first problem of a model, with a hint on a line of its own, for data without a document."""
    return "\n  ".join(filter(None, _words(model, error.errors(include_url=False)[0])))


def _problem(model: type[BaseModel], document: Document, base: Path, subject: str, detail: ErrorDetails) -> Problem:
    local = detail["loc"]
    at_key = _KEY in local or detail["type"] == "extra_forbidden"
    path = base + tuple(step for step in local if step != _KEY)
    message, hint = _words(model, detail)
    return document.problem(path, f"{message} {subject}".rstrip(), hint, key=at_key)


def _words(model: type[BaseModel], detail: ErrorDetails) -> tuple[str, str]:
    """Return message and hint for one finding of pydantic."""
    local, given, context = detail["loc"], detail["input"], detail.get("ctx", {})
    place, name, hint = _place(local), local[-1] if local else "", ""
    match detail["type"]:
        case "missing":
            message = f"the key {name!r} is missing"
        case "extra_forbidden":
            message, hint = f"unknown key {name!r}", did_you_mean(str(name), _keys(model, local[:-1]), "key")
        case "unknown_word":
            message = f"unknown {context['what']} {given!r}"
            hint = did_you_mean(str(given), context["known"], context["what"])
        case "literal_error":
            message, hint = f"{place} cannot be {given!r}", f"It is one of: {context['expected']}."
        case "string_pattern_mismatch":
            message, hint = f"{place} cannot be {given!r}", f"It must match {context['pattern']}"
        case "model_type":
            message = f"{place} must be a mapping of keys to values, not {given!r:.60}"
        case _:
            reason = detail["msg"].removeprefix("Input ")
            message = f"{place}: {reason[0].lower()}{reason[1:]}, not {given!r:.60}"
    return message, hint


def _place(local: tuple[int | str, ...]) -> str:
    """Format a path as `inputs.a.shape[0]`, without the names of union members that pydantic adds."""
    text = ""
    for step in local:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier() and step not in {"bool", "int", "float", "str"}:
            text += f".{step}" if text else step
    return text or "this"


def _keys(model: type[BaseModel], local: tuple[int | str, ...]) -> list[str]:
    """Return the keys that `model` allows at a path within it."""
    here: Any = model
    for step in local:
        here = _inside(here)
        here = here.model_fields[step].annotation if _is_model(here) else get_args(here)[-1]
    return list(_inside(here).model_fields)


def _inside(annotation: Any) -> Any:  # noqa: ANN401 (annotations are anything)
    """Return `Model` of `Model | None` and of `Annotated[Model, ...]`: an annotation without its wrappers."""
    while get_origin(annotation) in {Union, UnionType, Annotated}:
        annotation = get_args(annotation)[0]
    return annotation


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
