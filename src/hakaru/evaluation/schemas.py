"""JSON checks: what of an answer is its JSON, and the schema that it must satisfy.

The JSON is all of the answer where that is a value, else the first object or list in it, else the first fenced block that is a value; a
number, text, truth or null counts only where the schema may mean one. Nothing is fetched.
What is no schema, or refers to nowhere, is refused.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hakaru.errors import Misuse

_NOTHING: Final = object()
_OF_MANY: Final = frozenset(
    {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired",
     "items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"}
)  # fmt: skip
"""Keywords that an object or a list is meant by."""
_FENCED: Final = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)


def satisfies(schema: Any) -> Callable[[str], bool]:
    """Tells whether the JSON of an answer satisfies `schema`. Raises Misuse for a schema that cannot be used."""
    from jsonschema import Draft202012Validator, SchemaError
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
    validator = Draft202012Validator(schema, registry=Registry())  # a registry that fetches nothing
    _check_references(schema, validator)
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
