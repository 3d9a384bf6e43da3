"""What does not belong in a cluster's file, in a sentence: what stands there, and what is expected
of the key.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from hakaru.language import listed, say

Where = tuple[str | int, ...]
"""The way to a value in the file, such as `("node", 1, "hardware")`."""
LONGEST_FOUND: Final = 60


def fault(
    error: msgspec.ValidationError, file: Mapping[str, Any], tables: Mapping[str, type[Struct]]
) -> tuple[Where, str]:
    """Where msgspec found something wrong in the values of `file`, and the sentence for a person.
    `tables`: the keys that each table knows, by its name; that of the file itself is empty.
    """
    reason, _, at = str(error).partition(" - at `$.")
    way = _way(at)
    if missing := re.search("missing required field `(.*)`", reason):
        key = missing[1]
        return way, say("'{key}' is missing, expected {expected}", key=key, expected=_expected(key))
    if unknown := re.search("unknown field `(.*)`", reason):
        known = msgspec.structs.fields(tables[str(way[0]) if way else ""])
        keys = listed([field.encode_name for field in known])
        told = say("'{key}' is not known here, expected one of {keys}", key=unknown[1], keys=keys)
        return (*way, unknown[1]), told
    value: Any = file
    for step in way:
        value = value[step]
    key = [step for step in way if isinstance(step, str)][-1]
    found = json.dumps(value, ensure_ascii=False, default=str)[:LONGEST_FOUND]
    told = say(
        "'{key}' is {found}, expected {expected}", key=key, found=found, expected=_expected(key)
    )
    return way, told


def _expected(key: str) -> str:
    return {
        "node": say("one or more tables [[node]], at most 1,000"),
        "network": say("one table [network]"),
        "link": say("tables [[link]]"),
        "name": say('letters, digits and . _ -, at most 63, such as "desk" or "rack[01-16]"'),
        "address": say('a host name or an IP address, such as "192.168.1.20"'),
        "count": say("how many equal machines the table stands for, from 1 to 1,000"),
        "hardware": say('a text such as "RTX 3090 + 64GiB RAM"'),
        "hardware_file": say("the name of a JSON file that describes the machine"),
        "port": say("a number from 1 to 65,535"),
        "ssh": say('what ssh calls the machine, such as "me@attic"'),
        "hakaru": say("the command on that machine, without blanks"),
        "gbit_per_s": say("a number above 0, at most 100,000"),
        "ping_ms": say("a number of milliseconds, from 0 to 10,000"),
        "source": say("a text"),
        "between": say('the names of two nodes, such as ["desk", "attic"]'),
    }[key]


def _way(text: str) -> Where:
    """`node[1].hardware` as its parts."""
    parts = re.findall(r"(\w+)|\[(\d+)\]", text)
    return tuple(name or int(index) for name, index in parts)
