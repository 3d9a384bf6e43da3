"""JSON checks: finds the JSON in an answer and holds it against a schema.

The JSON of an answer is the whole answer if that is a JSON value, else the first object or list in
the answer, else the first fenced block that is a value. A scalar (number, text, true, false, null)
counts only where the schema may mean one. A schema that is none, or refers to nowhere, is refused;
nothing is fetched. Patterns in a schema are matched by `regex`, which stops after `MATCH_SECONDS`
of computing; only beside `unevaluatedProperties` jsonschema matches names of properties itself.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import regex

from hakaru.errors import Misuse

MATCH_SECONDS: Final = 2.0
"""Seconds that a pattern may compute on an answer: some patterns take longer than anybody lives."""
_NOTHING: Final = object()
_OF_MANY: Final = frozenset(
    {"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
        "minProperties", "maxProperties", "dependentRequired",
     "items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"}
)  # fmt: skip
"""Keywords of a schema that mean an object or a list."""
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
        raise Misuse(
            "the schema is no JSON schema: {place} is {found}",
            place=error.json_path.replace("$", "'schema'", 1),
            found=json.dumps(error.instance, ensure_ascii=False)[:60],
        ) from error
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
        value = first_json(answer, scalars=scalars)
        try:
            return value is not _NOTHING and validator.is_valid(value)
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
    """The keyword `patternProperties`: a property whose name matches a pattern satisfies the part
    of the schema behind that pattern.
    """
    for pattern, part in patterns.items() if isinstance(value, dict) else ():
        for name in value:
            if _matches(pattern, name):
                yield from validator.descend(value[name], part, path=name, schema_path=pattern)


def _others(
    validator: Any, part: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[Exception]:
    """The keyword `additionalProperties`: a property that neither `properties` nor
    `patternProperties` describe satisfies `part`.
    """
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in value if isinstance(value, dict) else ():
        if name not in named and not any(_matches(pattern, name) for pattern in patterns):
            yield from validator.descend(value[name], part, path=name)


def first_json(answer: str, *, scalars: bool = True) -> Any:
    """The JSON value in an answer (see the top of this file), or `_NOTHING`."""
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
    """Whether a number, text, true, false or null may be meant: by the schema's type, else by the
    lack of keywords that only mean objects and lists.

    JSON Schema itself does not tell: any scalar satisfies `required`.
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
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise _refers_to_nowhere(reference) from error
    try:
        validator.is_valid({})
    except RecursionError as error:
        raise Misuse("the schema refers to itself without end") from error
    except Unresolvable as error:  # from below an $id of its own
        raise _refers_to_nowhere(error.ref) from error


def _refers_to_nowhere(reference: str) -> Misuse:
    return Misuse(
        "the schema refers to {found}, which is not in it (nothing is fetched)",
        found=json.dumps(reference, ensure_ascii=False),
    )


def _references(part: Any) -> Iterator[str]:
    """The targets of all `$ref` and `$dynamicRef` in a part of a schema."""
    if isinstance(part, dict):
        targets = (part.get("$ref"), part.get("$dynamicRef"))
        yield from (target for target in targets if isinstance(target, str))
    data = {"const", "enum", "default", "examples"}  # hold values, no schemas
    inner = [v for k, v in part.items() if k not in data] if isinstance(part, dict) else part
    for inner_part in inner if isinstance(inner, list) else ():
        yield from _references(inner_part)
