"""JSON checks: what of an answer is its JSON, and the schema that it must satisfy.

The JSON is all of the answer where that is a value, else the first object or list in it, else the first fenced block that is a value; a
number, text, truth or null counts only where the schema may mean one. Nothing is fetched. Schemas that are no schemas, that refer to nowhere, or that plainly nothing satisfies are refused.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hakaru.errors import Misuse

_NOTHING: Final = object()
_OF_MANY: Final = frozenset(
    {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired",
     "items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"}
)  # fmt: skip
"""Keywords that an object or a list is meant by."""
_FENCED: Final = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_NUMBERS: Final = frozenset({"number", "integer"})
_BOUNDS: Final = (
    (_NUMBERS, "minimum", "maximum"),
    (frozenset({"string"}), "minLength", "maxLength"),
    (frozenset({"array"}), "minItems", "maxItems"),
    (frozenset({"array"}), "minContains", "maxContains"),
    (frozenset({"object"}), "minProperties", "maxProperties"),
)
_EXCLUSIVE: Final = (("exclusiveMinimum", "maximum"), ("minimum", "exclusiveMaximum"), ("exclusiveMinimum", "exclusiveMaximum"))


def satisfies(schema: Any) -> Callable[[str], bool]:
    """Tells whether the JSON of an answer satisfies `schema`. Raises Misuse for a schema that cannot be used."""
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if schema is False:
        raise Misuse("nothing satisfies the schema, so that no answer can ever be right")
    if not isinstance(schema, dict):
        raise Misuse("a json check needs a schema, a JSON object")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Misuse("the schema is no JSON schema ({reason})", reason=error.message) from error
    except RecursionError as error:
        raise Misuse("the schema is nested too deeply") from error
    validator = Draft202012Validator(schema, registry=Registry())  # a registry that fetches nothing
    _check_references(schema, validator)
    if _is_never_satisfied(schema, validator):
        raise Misuse("nothing satisfies the schema, so that no answer can ever be right")

    scalars = _may_mean_a_scalar(schema)

    def is_right(answer: str) -> bool:
        found = first_json(answer, scalars=scalars)
        try:
            return found is not _NOTHING and validator.is_valid(found)
        except (RecursionError, Unresolvable, ValueError, OverflowError):  # nested too deeply, or a number beyond reason
            return False

    return is_right


def first_json(answer: str, *, scalars: bool = True) -> Any:
    """The JSON value in an answer (see above), or a mark for none."""
    whole = _value(answer)
    if whole is not _NOTHING and (scalars or isinstance(whole, dict | list)):
        return whole
    decoder = json.JSONDecoder()
    for begin in re.finditer(r"[{\[]", answer):
        try:
            return decoder.raw_decode(answer, begin.start())[0]
        except (ValueError, RecursionError):
            continue
    values = map(_value, _FENCED.findall(answer) if scalars else ())
    return next((value for value in values if value is not _NOTHING), _NOTHING)


def _may_mean_a_scalar(schema: Mapping[str, Any]) -> bool:
    """By its type, or else by the lack of what only objects and lists have: anything else satisfies `required`."""
    if "type" not in schema:
        return not _OF_MANY & set(schema)
    types = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    return not types <= {"object", "array"}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


def _check_references(schema: Mapping[str, Any], validator: Any) -> None:
    """Raises Misuse for a reference out of the schema or to nowhere, and for one that leads back to itself."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    resolver = Registry().with_resource("", resource).crawl().resolver(base_uri=resource.id() or "")
    inside: list[Any] = [schema]
    while inside:
        some = inside.pop()
        data = {"const", "enum", "default", "examples"}
        inside += (
            [v for k, v in some.items() if k not in data] if isinstance(some, dict) else some if isinstance(some, list) else ()
        )
        for reference in (some.get("$ref"), some.get("$dynamicRef")) if isinstance(some, dict) else ():
            try:
                if isinstance(reference, str):
                    resolver.lookup(reference)
            except Unresolvable as error:
                raise Misuse(
                    "the schema refers to {found}, which is not in it (nothing is fetched)", found=repr(reference)
                ) from error
    try:
        validator.is_valid({})
    except RecursionError as error:
        raise Misuse("the schema refers to itself without end") from error
    except Unresolvable as error:  # from below an $id of its own
        raise Misuse("the schema refers to {found}, which is not in it (nothing is fetched)", found=repr(error.ref)) from error


def _is_never_satisfied(schema: Any, validator: Any) -> bool:
    """Whether plainly nothing satisfies a schema: contradicting bounds, values that are excluded, a part that must hold and never does."""
    if not isinstance(schema, dict):
        return schema is False
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return not any(_is_valid(validator.evolve(schema=schema), value) for value in values)
    either = [schema[key] for key in ("anyOf", "oneOf") if key in schema]
    return (
        schema.get("not") in (True, {})
        or any(_contradictions(schema))
        or any(_is_never_satisfied(part, validator) for part in _necessary(schema))
        or any(all(_is_never_satisfied(part, validator) for part in parts) for parts in either)
    )


def _is_valid(validator: Any, value: Any) -> bool:
    """Also True where it cannot be told."""
    from referencing.exceptions import Unresolvable

    try:
        return bool(validator.is_valid(value))
    except (RecursionError, Unresolvable, ValueError, OverflowError):
        return True


def _contradictions(schema: Mapping[str, Any]) -> Iterator[bool]:
    """For each pair of bounds, whether nothing lies between. Bounds of a type that the value need not have do not count."""
    given = schema.get("type")
    types = {given} if isinstance(given, str) else set(given or ())
    for of, low, high in _BOUNDS:
        if types <= of and low in schema and high in schema:
            yield schema[low] > schema[high]
    for low, high in _EXCLUSIVE:
        if types <= _NUMBERS and low in schema and high in schema:
            yield schema[low] >= schema[high]


def _necessary(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The parts of a schema that must hold: all of `allOf`, and of objects and lists what they cannot be without."""
    yield from schema.get("allOf", ())
    if schema.get("type") == "object":
        yield from (part for name, part in schema.get("properties", {}).items() if name in schema.get("required", ()))
    if schema.get("type") == "array" and schema.get("minItems", 0) > len(schema.get("prefixItems", ())):
        yield schema.get("items", True)
