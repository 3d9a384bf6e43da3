"""The engine that a supervisor keeps on this machine, as a request meets it
(`forwarding.Upstream`).
"""

from typing import Final

from msgspec import Struct

from hakaru.serving.engine_client import EngineClient, UnixSocket
from hakaru.serving.supervisor import Supervisor

STOPPED: Final = ("the server was stopped before the answer was done", "server_stopped")
"""Message and code for an answer that the end of the server cuts off."""


class KeptEngine(Struct, frozen=True):
    """The engine of `supervisor`."""

    supervisor: Supervisor

    @property
    def state(self) -> str:
        """Whether it can be asked."""
        return self.supervisor.state

    @property
    def n_slots(self) -> int:
        """How many conversations it answers at once."""
        return self.supervisor.settings.n_parallel

    @property
    def llama_cpp_model(self) -> str:
        """What its model is called."""
        return self.supervisor.mode.alias or self.supervisor.path.stem

    def client(self) -> EngineClient:
        """Who asks the engine that there is now. Raises EngineDied where there is none."""
        return EngineClient(UnixSocket(str(self.supervisor.server.socket)))

    def broken_off(self, how: str) -> tuple[str, str]:
        """Message and code for an answer that broke off."""
        if self.state == "stopped":
            return STOPPED
        return (
            f"the engine ended in the middle of the answer ({how}); it is being restarted",
            "engine_died",
        )
