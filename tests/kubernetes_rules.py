"""What a Kubernetes API server refuses although its schemas take it: the syntax of names, labels,
quantities and environment, and names that stand for nothing. And the own fields of LeaderWorkerSet
and RayService with their types, since no package has the schemas of the two.

Sources: Kubernetes' documentation, concepts/overview/working-with-objects (names, labels) and
reference/kubernetes-api (quantity, container, volumes); kubernetes-sigs/lws,
api/leaderworkerset/v1/leaderworkerset_types.go; ray-project/kuberay, ray-operator/apis/ray/v1 and
controllers/ray/utils (a RayService's name has at most 47 characters).
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import jsonschema

Thing = dict[str, Any]
LABEL: Final = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""RFC 1035, which services and Ray's clusters follow: stricter than what other objects need."""
SUBDOMAIN: Final = r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
WORD: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
QUANTITY: Final = r"[0-9]+(\.[0-9]+)?(m|k|[MGTPE]|[KMGTPE]i)?"
ENVIRONMENT: Final = r"[-._A-Za-z][-._A-Za-z0-9]*"
PORT: Final = r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*"
LONGEST_RAY_SERVICE: Final = 47

COUNT: Final = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
POD: Final = {"type": "object", "required": ["spec"]}  # held against Kubernetes' own schema


def _closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Thing:
    """An object with these fields and no others, as strict validation has it."""
    return {
        "type": "object",
        "required": [*required],
        "properties": required | (optional or {}),
        "additionalProperties": False,
    }


_PARAMETERS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_POLICIES: Final = ["Default", "RecreateGroupOnPodRestart", "RecreateGroupAfterStart", "None"]
SPECS: Final = {
    "LeaderWorkerSet": _closed(
        {
            "leaderWorkerTemplate": _closed(
                {"workerTemplate": POD},
                {"leaderTemplate": POD, "size": COUNT, "restartPolicy": {"enum": _POLICIES}},
            )
        },
        {"replicas": COUNT, "startupPolicy": {"enum": ["LeaderCreated", "LeaderReady"]}},
    ),
    "RayService": _closed(
        {
            "serveConfigV2": {"type": "string"},
            "rayClusterConfig": _closed(
                {"headGroupSpec": _closed({"rayStartParams": _PARAMETERS, "template": POD})},
                {
                    "rayVersion": {"type": "string"},
                    "workerGroupSpecs": {
                        "type": "array",
                        "items": _closed(
                            {
                                "groupName": {"type": "string", "pattern": f"^{LABEL}$"},
                                "minReplicas": COUNT,
                                "maxReplicas": COUNT,
                                "rayStartParams": _PARAMETERS,
                                "template": POD,
                            },
                            {"replicas": COUNT, "numOfHosts": COUNT},
                        ),
                    },
                },
            ),
        }
    ),
}
"""The fields that we write, of those that the two have."""


def faults(thing: Thing) -> list[str]:
    """Why an API server would refuse the object, beyond Kubernetes' schemas."""
    return [*_own_fields(thing), *_metadata(thing), *_everywhere(thing)]


def _own_fields(thing: Thing) -> Iterator[str]:
    if schema := SPECS.get(thing["kind"]):
        errors = jsonschema.Draft202012Validator(schema).iter_errors(thing["spec"])
        yield from (f"{error.json_path}: {error.message}" for error in errors)


def _metadata(thing: Thing) -> Iterator[str]:
    name = thing["metadata"]["name"]
    if not re.fullmatch(LABEL, name):
        yield f"name {name}"
    if thing["kind"] == "RayService" and len(name) > LONGEST_RAY_SERVICE:
        yield f"name {name} is too long"
    if unknown := thing.keys() - {"apiVersion", "kind", "metadata", "spec"}:
        yield f"fields {unknown}"


def _everywhere(part: Any, path: str = "") -> Iterator[str]:
    """The faults below a part of an object, with their place."""
    if isinstance(part, list):
        for i, one in enumerate(part):
            yield from _everywhere(one, f"{path}[{i}]")
    if not isinstance(part, dict):
        return
    for key in part.keys() & RULES.keys():
        yield from (f"{path}.{key}: {fault}" for fault in RULES[key](part[key]))
    if "containers" in part:
        yield from (f"{path}: {fault}" for fault in _mounts(part))
    for key, one in part.items():
        yield from _everywhere(one, f"{path}.{key}")


def _labels(labels: dict[str, str]) -> Iterator[str]:
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if not re.fullmatch(WORD, name) or (slash and not re.fullmatch(SUBDOMAIN, prefix)):
            yield f"label {key}"
        if value and not re.fullmatch(WORD, value):
            yield f"label {key}={value}"


def _values(values: list[str]) -> Iterator[str]:
    """Of a selector of nodes."""
    yield from (f"value {value}" for value in values if not re.fullmatch(WORD, value))


def _environment(variables: list[Thing]) -> Iterator[str]:
    names = [variable["name"] for variable in variables]
    yield from (f"name {name}" for name in names if not re.fullmatch(ENVIRONMENT, name))
    yield from (f"{name} twice" for name in {*names} if names.count(name) > 1)
    for variable in variables:
        if not isinstance(variable.get("value", ""), str):
            yield f"{variable['name']} is no text"


def _ports(ports: list[Thing]) -> Iterator[str]:
    names = [port["name"] for port in ports if "name" in port]
    yield from (f"name {name}" for name in names if not re.fullmatch(PORT, name))
    yield from (f"{name} twice" for name in {*names} if names.count(name) > 1)


def _quantities(quantities: dict[str, Any]) -> Iterator[str]:
    for key, quantity in quantities.items():
        if not re.fullmatch(QUANTITY, str(quantity)) or str(quantity).startswith("0"):
            yield f"{key}: {quantity}"


def _mounts(spec: Thing) -> Iterator[str]:
    """A volume that is mounted is there, and each place has one."""
    volumes = [volume["name"] for volume in spec.get("volumes", ())]
    for container in spec["containers"]:
        places = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
        yield from (f"{place} twice" for place in {*places} if places.count(place) > 1)
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                yield f"volume {mount['name']} is not there"
        resources = container.get("resources", {})
        if resources.get("requests", {}) != resources.get("limits", {}):
            yield "cards cannot be shared: requests and limits differ"


RULES: Final[dict[str, Callable[[Any], Iterator[str]]]] = {
    "labels": _labels,
    "matchLabels": _labels,
    "values": _values,
    "env": _environment,
    "ports": _ports,
    "limits": _quantities,
    "requests": _quantities,
}
"""By the name of the field."""
