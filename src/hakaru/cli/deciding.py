"""What `hakaru up` and `hakaru tune` share: a decision, told on the terminal while it is made."""

from hakaru.choosing.decision import Decision
from hakaru.choosing.mix_gain import Gain, measured_gain
from hakaru.choosing.tune import effort_beside_servers, tune
from hakaru.cli.options import WishOptions
from hakaru.cli.output import warn
from hakaru.cli.progress import Watching
from hakaru.cli.terminal import terminal_session
from hakaru.cli.wrapping import whole
from hakaru.errors import EngineError, MachineError
from hakaru.language import say
from hakaru.session import Session


def decide(
    options: WishOptions, *, serves: bool, speculative: bool = False, draft: str | None = None
) -> Decision:
    """The decision for the wishes of a person."""
    with Watching(quiet=options.json) as watch:
        session = terminal_session(watching=watch, quiet=options.json)
        if options.model is None and not serves:
            session.note(
                say(
                    "No model was named, so this is about the small one that comes with hakaru. It "
                    "takes minutes. Another one: {command}",
                    command=whole("hakaru tune MODEL.gguf"),
                )
            )
        return _decision(options, session, serves=serves, speculative=speculative, draft=draft)


def decide_with_gain(options: WishOptions, *, serves: bool) -> tuple[Decision, Gain | None]:
    """The decision, and what a mix gains. The gain is an addition: where the machine or the engine
    fails at it, the decision stands.
    """
    with Watching(quiet=options.json) as watch:
        session = terminal_session(watching=watch, quiet=options.json)
        decision = _decision(options, session, serves=serves)
        try:
            return decision, measured_gain(session, decision, effort_beside_servers())
        except (MachineError, EngineError) as error:
            warn(say("what a mix gains could not be measured: {reason}", reason=error))
            return decision, None


def _decision(
    options: WishOptions,
    session: Session,
    *,
    serves: bool,
    speculative: bool = False,
    draft: str | None = None,
) -> Decision:
    return tune(
        options.model,
        tier=options.quality,
        min_tokens_per_s=options.min_speed,
        memory=options.memory,
        tasks=options.tasks,
        language=options.language,
        chat_template=options.chat_template,
        speculative=speculative,
        draft=draft,
        again=options.again,
        serves=serves,
        session=session,
        **options.as_context(),
    )
