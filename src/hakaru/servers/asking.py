"""How other commands of hakaru's ask a server of hakaru's on this machine."""

import httpx

from hakaru.servers import Deployment


def client_of(server: Deployment, *, within_s: float | None) -> httpx.Client:
    """Who asks `server`, with the key of its record; paths begin at its API. None waits for ever.

    Nothing of the environment counts: a proxy would read the prompts and reach another machine, and
    `.netrc` has another key. The certificate may be for another name.
    """
    return httpx.Client(
        base_url=f"{server.url}/",
        headers={"Authorization": f"Bearer {server.key}"} if server.key else {},
        timeout=within_s,
        trust_env=False,
        verify=server.scheme == "http",
    )
