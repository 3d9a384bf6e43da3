"""The names of repositories' folders in the Hub's cache."""

from typing import Final

ROOM: Final = "models--"
"""What they begin with."""


def room_name(repo: str) -> str:
    """The folder of a repository: `org/repo` lies in `models--org--repo`."""
    return ROOM + repo.replace("/", "--")
