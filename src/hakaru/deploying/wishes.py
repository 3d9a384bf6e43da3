"""What a person asks of a deployment. Pure."""

from msgspec import Struct

from hakaru.deploying.bundle import Target


class Wishes(Struct, frozen=True, kw_only=True):
    """The arguments of `deploy`, which explains each."""

    target: Target
    users: int | None
    n_ctx: int | None
    type_name: str | None
    weights: str | None
    programs: str
    port: int
    image: str | None
    trusts_network: bool
