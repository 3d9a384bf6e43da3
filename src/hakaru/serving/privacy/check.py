"""Whether anything leaks here: the verb behind `hakaru privacy-check`."""

import tempfile
from pathlib import Path

from hakaru.engine.first_token import write_model
from hakaru.errors import ModelNotFound
from hakaru.language import say
from hakaru.models.embedded import embedded_model
from hakaru.serving.privacy.from_commands import command_findings
from hakaru.serving.privacy.from_engine import engine_findings
from hakaru.serving.privacy.leaks import Finding
from hakaru.session import Session


def privacy_check(session: Session | None = None) -> list[Finding]:
    """Try to leak from the engine's cell, and count what commands ask of the network. Takes half a
    minute; nothing leaves this machine.
    """
    session = session or Session.here(keeps=False)
    with tempfile.TemporaryDirectory(prefix="hakaru-") as folder:
        tiny = write_model(Path(folder) / "small.gguf")
        try:
            model = str(embedded_model())
        except ModelNotFound:
            model = str(tiny)
        commands = [
            ("hardware", ["hardware"]),
            ("fit", ["fit", model]),
            ("quantize", ["quantize", model, "--type", "Q4_0", "--dry-run"]),
            ("test", ["test", model, "--no-speed"]),
            ("chat", ["chat", model, "-p", "Hi", "--max-tokens", "2", "--no-private"]),
        ]
        step = say("ways tried")
        session.watch(step, 0, 1 + len(commands))
        findings = engine_findings(tiny)
        for number, command in enumerate(commands, 1):
            session.watch(step, number, 1 + len(commands))
            findings += command_findings([command])
    return findings
