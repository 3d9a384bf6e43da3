"""`hakaru serve`, and how a command that serves stays until Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

from msgspec.structs import asdict

from hakaru.cli.called import given
from hakaru.cli.next_steps import after_dry_run, english_only, words_typed
from hakaru.cli.options import BackendOptions, ContextOptions, HandOptions, ServingOptions
from hakaru.cli.output import next_step, print_aside, print_json, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.service_unit import absolute, how_to_start, service_unit, stops_within_s
from hakaru.cli.tell.fit import print_fit
from hakaru.cli.terminal import terminal_session
from hakaru.cli.wrapping import whole
from hakaru.engine.speculation import Speculation
from hakaru.errors import Misuse, Terminated
from hakaru.evaluation.served import laid_out
from hakaru.language import listed, say, without_controls
from hakaru.models.embedded import is_english_only
from hakaru.servers import HOST, running
from hakaru.serving.by_hand import AS_HAKARU_CHOOSES
from hakaru.serving.entrance import Entrance
from hakaru.serving.plan_to_load import plan_to_load
from hakaru.serving.port import DEFAULT_PORT
from hakaru.serving.serve import ToServe, serve, to_serve
from hakaru.serving.serve_at import Pages, Serving
from hakaru.session import Session

OF_ADDRESS: Final = frozenset(
    ("--generate", "--host", "--port", "--api-key-file", "--insecure", "--tls-key")
)
"""Options that a container has its own values for."""
OF_BACKENDS: Final = frozenset(
    (
        "--allow-origin", "--api-key", "--api-key-file", "--backend", "--backend-key-file",
        "--backend-timeout", "--drain", "--host", "--insecure", "--port", "--queue", "--tls-cert",
        "--tls-key", "--trust-network",
    )
)  # fmt: skip
"""Options of a gateway before servers elsewhere."""
DRAIN_S: Final = 10.0
"""How long answers on their way may go on after SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ContextOptions, HandOptions, ServingOptions, BackendOptions):
    """`hakaru serve`."""

    models: tuple[str, ...]
    memory: str | None
    chat_template: str | None
    idle: float | None  # seconds
    generate: str | None
    cluster: Path | None
    trust_network: bool
    restart: bool
    dry_run: bool
    json: bool

    @property
    def are_several(self) -> bool:
        """Whether models come and go while the server runs."""
        return len(self.models) > 1 or self.idle is not None


def run(options: ServeOptions, *, pages: Pages | None) -> int:
    """Serve models until Ctrl-C."""
    if options.json and not options.dry_run:
        raise Misuse("--json goes with `dry_run` here: it prints the plan; leave it out to serve.")
    _check_what(options)
    if options.are_several:
        _check_several(options)
    entrance = options.entrance()
    session = terminal_session(aside=True, keeps=False)
    if options.cluster:
        return _over_cluster(options, options.cluster, session, pages)
    if options.generate:
        return _print_service(options, session)
    if options.dry_run:
        return _plan(options, session)
    if options.backend:
        elsewhere = _elsewhere(options, session, entrance, pages)
        return stay(elsewhere, has_pages=pages is not None, drain_s=options.drain)
    if options.are_several:
        several = _several(options, session, entrance, pages)
        return stay(several, has_pages=pages is not None, drain_s=options.drain)
    serving = serve(
        options.models[0],
        port=options.port,
        memory=options.memory,
        chat_template=options.chat_template,
        alias=options.alias,
        private=options.private,
        pages=pages,
        allow_origin=options.allow_origin,
        queue=options.queue,
        by_hand=options.by_hand(),
        entrance=entrance,
        session=session,
        **options.as_context(),
    )
    return stay(serving, has_pages=pages is not None, drain_s=options.drain)


def _check_what(options: ServeOptions) -> None:
    """Raises Misuse where nothing is named to be served, or what does not go together."""
    if not options.backend:
        if not options.models:
            raise Misuse("name a model to serve, or servers that answer instead with `backend`.")
        if options.backend_key_file:
            raise Misuse("`backend_key_file` goes with `backend`.")
        return
    if wrong := [*options.models, *(option for option in given() if option not in OF_BACKENDS)]:
        raise Misuse(
            "{options}: not with `backend`, which has a model already; leave it out, or say it "
            "where the backend is started.",
            options=listed(wrong),
        )


def _elsewhere(
    options: ServeOptions, session: Session, entrance: Entrance, pages: Pages | None
) -> AbstractContextManager[Serving]:
    from hakaru.serving.serve_backends import serve_backends  # it needs a web framework

    return serve_backends(
        options.backend,
        key_file=options.backend_key_file,
        trust_network=options.trust_network,
        silent_s=options.backend_timeout,
        port=options.port,
        allow_origin=options.allow_origin,
        queue=options.queue,
        pages=pages,
        entrance=entrance,
        session=session,
    )


def _check_several(options: ServeOptions) -> None:
    """Raises Misuse for what is said of one model, where there are several."""
    of_one = {
        "alias": options.alias,
        "chat_template": options.chat_template,
        "dry_run": options.dry_run or None,
        "generate": options.generate,
    }
    given = [f"`{name}`" for name, value in of_one.items() if value is not None]
    if given or options.by_hand() != AS_HAKARU_CHOOSES:
        raise Misuse(
            "{options} is for one model that stays loaded; leave it out with several models and "
            "with `idle`.",
            options=listed(given) or "-t, -ngl, `draft`, `mmproj`, --temp …",
        )


def _over_cluster(
    options: ServeOptions, cluster: Path, session: Session, pages: Pages | None
) -> int:
    """Serve over several machines. Raises Misuse for what only one machine has."""
    if options.by_hand() != AS_HAKARU_CHOOSES or options.private or options.memory is not None:
        raise Misuse(
            "over a cluster hakaru chooses threads, layers and memory, nothing guesses ahead, and "
            "the engine must reach its workers; leave such options out."
        )
    if options.generate or options.are_several:
        raise Misuse(
            "`cluster` is for one model that is served now; see the plan: {command}",
            command=pasted("hakaru", "fit", options.models[0], "--cluster", cluster),
        )
    if options.dry_run:
        return _plan_over_cluster(options, cluster, session)
    from hakaru.serving.serve_cluster import serve_cluster  # nobody else needs TOML

    serving = serve_cluster(
        options.models[0],
        cluster,
        trust_network=options.trust_network,
        restart=options.restart,
        port=options.port,
        chat_template=options.chat_template,
        alias=options.alias,
        pages=pages,
        allow_origin=options.allow_origin,
        queue=options.queue,
        entrance=options.entrance(),
        session=session,
        **options.as_context(),
    )
    return stay(serving, has_pages=pages is not None, drain_s=options.drain)


def _plan_over_cluster(options: ServeOptions, cluster: Path, session: Session) -> int:
    """Tell what would be started on which node; nothing is."""
    from hakaru.cli.tell.cluster import print_starts
    from hakaru.serving.serve_cluster import over_cluster, starts_over

    over = over_cluster(
        options.models[0],
        cluster,
        session,
        chat_template=options.chat_template,
        alias=options.alias,
        **options.as_context(),
    )
    *workers, server = starts_over(over, trust_network=options.trust_network)
    if options.json:
        told = {"command": server.command, "workers": [asdict(worker) for worker in workers]}
        print_json({"schema": "hakaru.serve/1", **told, "fit": over.plan.as_json()})
        return 0
    print_fit(over.plan, [])
    print_starts(workers, server)
    print_text(say("Dry run: nothing was loaded."))
    next_step(after_dry_run())
    return 0


def _several(
    options: ServeOptions, session: Session, entrance: Entrance, pages: Pages | None
) -> AbstractContextManager[Serving]:
    from hakaru.serving.serve_several import serve_several  # it needs a web framework

    return serve_several(
        options.models,
        port=options.port,
        private=options.private,
        memory=options.memory,
        idle_s=options.idle,
        allow_origin=options.allow_origin,
        queue=options.queue,
        pages=pages,
        entrance=entrance,
        session=session,
        **options.as_context(),
    )


def stay(
    served: AbstractContextManager[Serving],
    *,
    quiet: bool = False,
    has_pages: bool,
    source: Path | None = None,
    drain_s: float = DRAIN_S,
) -> int:
    """Serve until Ctrl-C, or say where the model is served already. With `quiet` stdout is left
    alone. `source` is the file that the served one was made from, if another. After SIGTERM the
    answers on their way have `drain_s` seconds.
    """

    tell = print_aside if quiet else print_text
    with _ended_once(), served as serving, suppress(KeyboardInterrupt):
        tell(_greeting(serving))
        for line in _ways_on(serving, source, has_pages=has_pages):
            tell(line)
        if not serving.is_new:
            return 0
        try:
            serving.wait()
        except Terminated:
            if drain_s and (n := serving.n_answering):
                tell(_draining(n, drain_s))
                serving.drain(drain_s)
    tell(say("Stopped."))
    return 0


@contextmanager
def _ended_once() -> Iterator[None]:
    """The first Ctrl-C or SIGTERM in the block does what it always does. Those that follow change
    nothing: what runs is being stopped already. But a second signal after SIGTERM cuts off the
    answers that are waited for.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def heard(following: Any, number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, following)
        handler = before[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    last = partial(heard, signal.SIG_IGN)

    def first(number: int, frame: FrameType | None) -> None:
        heard(last if number == signal.SIGTERM else signal.SIG_IGN, number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _draining(n: int, within_s: float) -> str:
    return say(
        "Stopping: {n} answers on their way have {seconds:g} s; a second signal cuts them off.",
        n=n,
        seconds=within_s,
    )


def _greeting(serving: Serving) -> str:
    model, url = serving.deployment.model, serving.url
    if serving.names:
        return say(
            "{models}: each answers at {url} by its name  (Ctrl-C stops it)",
            models=listed(serving.names),
            url=url,
        )
    if not serving.is_new:
        return say("{model} already answers at {url}", model=model, url=url)
    if serving.gives == "embedding":
        sentence = say("{model} gives vectors: POST {url}/embeddings  (Ctrl-C stops it)")
    elif serving.gives == "reranker":
        sentence = say("{model} ranks documents: POST {url}/rerank  (Ctrl-C stops it)")
    else:
        sentence = say("{model} answers at {url}  (Ctrl-C stops it)")
    return sentence.format(model=model, url=url)


def _ways_on(serving: Serving, source: Path | None, *, has_pages: bool) -> Iterator[str]:
    """What to do with the address; the next step is the last line."""
    url = serving.url
    if guesses := serving.deployment.settings.get("speculation"):
        is_named = bool(serving.deployment.settings.get("must_guess"))
        yield _guesses(Speculation.from_json(cast("dict[str, Any]", guesses)), is_named=is_named)
    if has_pages:
        page = url.removesuffix("v1")
        if serving.backends:
            yield say("A chat, and what each server does, in a browser: {url}", url=page)
        else:
            yield say("What was measured, in a browser: {url}", url=page)
    if serving.gives != "text":
        return
    if serving.leave:
        yield say("Prompts leave this machine: they go to {urls}.", urls=listed(serving.leave))
    elif serving.backends:
        yield say(
            "Prompts go to {urls}, on this machine; where a tunnel leads from there, hakaru does "
            "not see.",
            urls=listed(serving.backends),
        )
    if serving.deployment.key:
        yield say("For programs: any OpenAI client, base_url {url}, with your key", url=url)
    else:
        yield say("For programs: any OpenAI client, base_url {url}, no key", url=url)
    if is_english_only(source or Path(serving.deployment.path)):
        yield english_only("hakaru up MODEL.gguf")
    port = ("--port", str(serving.deployment.port)) if len(running()) > 1 else ()
    command = whole(pasted("hakaru", "chat", *port))
    yield say("Talk to it in another terminal: {command}", command=command)


def _guesses(way: Speculation, *, is_named: bool) -> str:
    """What guesses ahead: for which there was proof, or which a person named."""
    from hakaru.choosing.speculated import spoken  # it imports numpy, and few servers guess

    if is_named:
        return say(
            "Tokens are guessed ahead, {n} at once, by {name}, as you named it. Whether that is "
            "faster here: {command}",
            n=way.n_max,
            name=spoken(way),
            command=whole("hakaru tune MODEL --draft DRAFT"),
        )
    return say(
        "Tokens are guessed ahead, {n} at once, by {name}: measured to be faster here.",
        n=way.n_max,
        name=spoken(way),
    )


def _to_serve(options: ServeOptions, session: Session) -> ToServe:
    return to_serve(
        options.models[0],
        options.chat_template,
        session,
        alias=options.alias,
        private=options.private,
        by_hand=options.by_hand(),
        **options.as_context(),
    )


def _print_service(options: ServeOptions, session: Session) -> int:
    """Print the service for what was typed, once it is known that it can be served."""
    if options.api_key:
        raise Misuse(
            "`api_key` would stand in the file of the service, for all to read; name a file with "
            "`api_key_file`."
        )
    if options.generate != "systemd":
        return _print_container(options, session)
    what = _to_serve(options, session)
    words = words_typed(without={"--generate"})
    print(service_unit(words, model=what.model.path.name, drain_s=options.drain))
    print_aside(how_to_start())
    return 0


def _print_container(options: ServeOptions, session: Session) -> int:
    """Print what runs it in a container."""
    from hakaru.cli import container

    if options.tls_cert:
        raise Misuse("`tls_cert` is not for a container; put TLS before its published port.")
    if options.generate == "compose" and options.private is not None:
        raise Misuse(
            "Docker lets nothing isolate itself inside a container: there the network without a "
            "way out is what keeps the server private; leave `private` out, or generate quadlet."
        )
    if options.generate == "containerfile":
        print(container.containerfile())
        print_aside(container.how_to_build())
        return 0
    what = _to_serve(options, session)
    fit, _ = plan_to_load(*what, session, memory=options.memory)
    name, path = options.models[0], what.model.path.absolute()
    words = [
        str(path) if word == name else absolute(word) for word in words_typed(without=OF_ADDRESS)
    ]
    files = dict.fromkeys([*what.model.parts, *(Path(word) for word in words)])
    contained = container.Contained(
        words=container.command_inside(words),
        files=tuple(file.absolute() for file in files if file.is_absolute() and file.exists()),
        keys=options.api_key_file or Path("hakaru-keys.txt"),
        host=options.host or HOST,
        port=options.port or DEFAULT_PORT,
        memory_bytes=container.limit_of(fit.total_bytes),
        stops_within_s=stops_within_s(options.drain),
        model=without_controls(path.name),
    )
    is_compose = options.generate == "compose"
    print(container.compose(contained) if is_compose else container.quadlet(contained))
    for sentence in container.how_to_run(contained.keys, is_compose=is_compose):
        print_aside(sentence)
    return 0


def _plan(options: ServeOptions, session: Session) -> int:
    """Tell what would be served, and how; nothing is loaded."""
    from hakaru.engine.server import server_command

    to_load = _to_serve(options, session)
    fit, mode = plan_to_load(*to_load, session, memory=options.memory)
    if options.json:
        mode = laid_out(fit, mode)
        command = server_command(
            to_load.model.path, fit.settings, socket=Path("FOLDER/SOCKET"), mode=mode
        )
        print_json({"schema": "hakaru.serve/1", "command": command, "fit": fit.as_json()})
        return 0
    print_fit(fit, [])
    print_text(say("Dry run: nothing was loaded."))
    next_step(after_dry_run())
    return 0
