"""The child that lists the accelerators which the wheel can use: `python -m
hakaru.engine.devices_child` prints JSON.
"""

import json
import os


def main() -> None:
    """Print a list of name, description, total and free bytes."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import xllamacpp

    listed = [device for device in xllamacpp.get_device_info() if device["name"] != "CPU"]
    fields = {
        "name": "name",
        "description": "description",
        "total_bytes": "memory_total",
        "free_bytes": "memory_free",
    }
    json.dump(
        [{ours: device[theirs] for ours, theirs in fields.items()} for device in listed], replies
    )
    replies.flush()


if __name__ == "__main__":
    main()
