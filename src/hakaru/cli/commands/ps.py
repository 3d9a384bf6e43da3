"""`hakaru ps`: which servers run, and what each holds."""

from dataclasses import dataclass

from hakaru.cli.output import print_json
from hakaru.cli.tell.ps import print_holdings
from hakaru.servers.holding import who_holds_what


@dataclass(frozen=True, kw_only=True)
class PsOptions:
    """`hakaru ps`."""

    json: bool


def run(options: PsOptions) -> int:
    """List the servers, and who else has memory on a GPU."""
    holdings, strangers = who_holds_what()
    if options.json:
        print_json(
            {
                "schema": "hakaru.ps/1",
                "servers": [holding.as_json() for holding in holdings],
                "others": [stranger.as_json() for stranger in strangers],
            }
        )
    else:
        print_holdings(holdings, strangers)
    return 0
