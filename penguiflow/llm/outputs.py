"""Outputs: answers that are to fit a type.

Owns the way from a type to the schema that a provider is given, and from the text of an answer to an instance
of the type: the whole one, or what there is of it while it grows. Invariant: what is given as the output has
been validated; what is given while it grows has the same fields, each of which may be ``None``.
"""

from __future__ import annotations

import inspect
import re
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    Field,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import from_json

FENCE = re.compile(r"```(?:json)?\s*\n?(.*?)\s*(?:```\s*)?\Z", re.DOTALL)
THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


class Output:
    """An output that is asked for.

    Args:
        kind: its type: a pydantic model, or whatever else pydantic knows.

    Providers want an object: what is none is asked for as the only field of one, ``value``.

    Raises:
        TypeError: pydantic does not know the type.
    """

    def __init__(self, kind: Any) -> None:
        if inspect.isroutine(kind):
            raise TypeError(f"output={kind!r}: a type is needed, not a function")
        self.name: str = re.sub(r"\W+", "_", getattr(kind, "__name__", "output"))[:64]
        try:
            self._is_wrapped = schema_of(TypeAdapter(kind)).get("type") != "object"
        except PydanticSchemaGenerationError as exc:
            raise TypeError(f"output={kind!r}: a type is needed that pydantic knows") from exc
        asked = create_model(self.name, value=(kind, ...)) if self._is_wrapped else kind
        self._whole: TypeAdapter[Any] = TypeAdapter(asked)
        self._partial: TypeAdapter[Any] = TypeAdapter(partial_of(asked))

    def schema(self) -> tuple[dict[str, Any], bool]:
        """Give the JSON schema, and whether a provider can keep to it to the letter."""
        schema = schema_of(self._whole)
        return (schema, True) if _make_strict(schema) else (schema_of(self._whole), False)

    def read(self, text: str) -> Any:
        """Give the output that an answer is.

        Raises:
            ValidationError: it does not fit.
        """
        value = self._whole.validate_json(bare(text))
        return value.value if self._is_wrapped else value

    def partial(self, text: str) -> Any:
        """Give what there is of the output so far; ``None`` where nothing can be told yet."""
        try:
            said = from_json(bare(text), allow_partial="trailing-strings")
        except ValueError:
            return None
        value = self._fitting(said)
        return value.value if self._is_wrapped and value is not None else value

    def _fitting(self, said: Any) -> Any:
        """Leave out what does not fit yet: half a date, the beginning of a word out of a few."""
        try:
            return self._partial.validate_python(said)
        except ValidationError as exc:
            for error in exc.errors(include_url=False, include_context=False, include_input=False):
                _drop(said, error["loc"])
        try:
            return self._partial.validate_python(said)
        except ValidationError:
            return None


def bare(text: str) -> str:
    """Take away what models put around JSON: thoughts, a fence."""
    thought = THOUGHT.match(text)
    text = text[thought.end() :] if thought else text
    text = text.strip()
    fenced = FENCE.match(text)
    return fenced.group(1) if fenced else text


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """Give the JSON schema of a type; one that has itself in it stands at the root, too."""
    schema = adapter.json_schema()
    name = schema.get("$ref", "").rpartition("/")[2]
    return {**schema["$defs"][name], "$defs": schema["$defs"]} if name else schema


def partial_of(kind: Any, above: tuple[Any, ...] = ()) -> Any:
    """Give a type like another one, the fields of whose models may be ``None``.

    One that has itself in it may be anything there.
    """
    if kind in above:
        return Any
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields: dict[str, Any] = {}
        for name, field in kind.model_fields.items():
            inner = partial_of(field.annotation, (*above, kind))
            alias = Field(None, alias=field.alias, validation_alias=field.validation_alias)
            fields[name] = (Union[inner, None], alias)  # noqa: UP007 - it may be an alias, or Any
        return create_model(kind.__name__, __config__=kind.model_config, __doc__=kind.__doc__, **fields)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return Union[tuple(partial_of(one, above) for one in arguments)]  # noqa: UP007
    if origin in (list, dict) and arguments:
        return origin[tuple(partial_of(one, above) for one in arguments)]
    return kind


def _make_strict(schema: Any) -> bool:
    """Forbid fields that are not named, and require all that are; say whether that could be done.

    What a provider keeps to the letter knows no field that may be missing, and none that has no name.
    """
    if not isinstance(schema, dict):
        return True
    schema.pop("default", None)
    if schema.get("type") == "object":
        if not schema.get("properties") or schema.get("additionalProperties"):
            return False
        schema["additionalProperties"] = False
        schema["required"] = list(schema["properties"])
    tables = [schema[key] for key in ("properties", "$defs") if key in schema]
    inner = [one for table in tables for one in table.values()]
    inner += [one for key in ("anyOf", "oneOf", "allOf", "prefixItems") for one in schema.get(key, ())]
    inner += [schema[key] for key in ("items",) if key in schema]
    is_anything = not schema.keys() - {"title", "description"}
    return not is_anything and all(_make_strict(one) for one in inner)


def _drop(said: Any, path: tuple[int | str, ...]) -> None:
    """Take out what is at the end of a path, which may have names of members of unions in it."""
    above: Any = None
    at: Any = None
    for step in path:
        if _has(said, step):
            above, at, said = said, step, said[step]
    if isinstance(above, dict):
        above.pop(at, None)
    elif isinstance(above, list):
        del above[at:]


def _has(said: Any, step: int | str) -> bool:
    if isinstance(said, list):
        return isinstance(step, int) and step < len(said)
    return isinstance(said, dict) and step in said
