"""JSON checks: what of an answer is its JSON, and the schema that it must satisfy.

The JSON is all of the answer where that is a value, else the first object or list in it, else the
first fenced block that is a value; a number, text, truth or null counts only where the schema may
mean one. Nothing is fetched. What is no schema, or refers to nowhere, is refused. Patterns in a
schema are matched by `regex`, which stops after `MATCH_SECONDS` of computing; only beside
`unevaluatedProperties` jsonschema matches names of properties itself.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import regex

from hakaru.errors import Misuse

MATCH_SECONDS: Final = 2.0
"""What a pattern may compute on an answer: some take longer than anybody lives."""
_NOTHING: Final = object()
_OF_MANY: Final = frozenset(
    {"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
        "minProperties", "maxProperties", "dependentRequired",
     "items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"}
)  # fmt: skip
"""Keywords that an object or a list is meant by."""
_FENCED: Final = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)


def satisfies(schema: Any) -> Callable[[str], bool]:
    """Tells whether the JSON of an answer satisfies `schema`, and raises TimeoutError where that
    takes too long. Raises Misuse for a schema that cannot be used.
    """
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if not isinstance(schema, dict):
        raise Misuse("a json check needs a schema, a JSON object")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Misuse("the schema is no JSON schema ({reason})", reason=error.message) from error
    except RecursionError as error:
        raise Misuse("the schema is nested too deeply") from error
    keywords = {
        "pattern": _pattern,
        "patternProperties": _patterns,
        "additionalProperties": _others,
    }
    timed = extend(Draft202012Validator, keywords)
    validator = timed(schema, registry=Registry())  # a registry that fetches nothing
    _check_references(schema, validator)
    scalars = _may_mean_a_scalar(schema)

    def is_right(answer: str) -> bool:
        found = first_json(answer, scalars=scalars)
        try:
            return found is not _NOTHING and validator.is_valid(found)
        except (RecursionError, Unresolvable, ValueError, OverflowError, regex.error):
            # nested too deeply, a number beyond reason, or a pattern that only `re` knows
            return False

    return is_right


def _matches(pattern: str, text: str) -> bool:
    return regex.search(pattern, text, timeout=MATCH_SECONDS) is not None


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Exception]:
    """The keyword `pattern`, as jsonschema calls it: yields an error for each violation."""
    from jsonschema import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _patterns(
    validator: Any, patterns: Mapping[str, Any], value: Any, schema: Any
) -> Iterator[Exception]:
    """The keyword `patternProperties`: what has a name that a pattern matches satisfies its
    part.
    """
    for pattern, part in patterns.items() if isinstance(value, dict) else ():
        for name in value:
            if _matches(pattern, name):
                yield from validator.descend(value[name], part, path=name, schema_path=pattern)


def _others(
    validator: Any, part: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[Exception]:
    """The keyword `additionalProperties`: what neither a name nor a pattern speaks of satisfies
    `part`.
    """
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in value if isinstance(value, dict) else ():
        if name not in named and not any(_matches(pattern, name) for pattern in patterns):
            yield from validator.descend(value[name], part, path=name)


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
    """By its type, or else by the lack of what only objects and lists have: anything else satisfies
    `required`.
    """
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
    """Raises Misuse for a reference out of the schema or to nowhere, and for one that leads back to
    itself.
    """
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
            [v for k, v in some.items() if k not in data]
            if isinstance(some, dict)
            else some
            if isinstance(some, list)
            else ()
        )
        for reference in (
            (some.get("$ref"), some.get("$dynamicRef")) if isinstance(some, dict) else ()
        ):
            try:
                if isinstance(reference, str):
                    resolver.lookup(reference)
            except Unresolvable as error:
                raise Misuse(
                    "the schema refers to {found}, which is not in it (nothing is fetched)",
                    found=repr(reference),
                ) from error
    try:
        validator.is_valid({})
    except RecursionError as error:
        raise Misuse("the schema refers to itself without end") from error
    except Unresolvable as error:  # from below an $id of its own
        raise Misuse(
            "the schema refers to {found}, which is not in it (nothing is fetched)",
            found=repr(error.ref),
        ) from error
