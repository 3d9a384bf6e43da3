"""`hakaru deploy`: the files that run a model on a cluster, written or printed."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hakaru.cli.options import ParallelOptions
from hakaru.cli.output import print_json, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.staying import stay
from hakaru.cli.terminal import terminal_session
from hakaru.cli.wrapping import whole
from hakaru.deploying.bundle import Bundle, Target
from hakaru.deploying.deploy import deploy
from hakaru.errors import Misuse
from hakaru.language import listed, say
from hakaru.memory.context import DEFAULT_CONTEXT
from hakaru.models.presets import preset_asked
from hakaru.planning.joined import Topology
from hakaru.serving.serve_at import Pages, Serving
from hakaru.serving.serve_cluster import serve_cluster


@dataclass(frozen=True, kw_only=True)
class DeployOptions(ParallelOptions):
    """`hakaru deploy`."""

    model: str
    cluster: Path
    target: Target
    type_: str | None
    bits: str | None
    users: int | None
    context: int | None
    weights: str | None
    programs: str
    port: int
    image: str | None
    trust_network: bool
    topology: Topology | None
    output: Path | None
    overwrite: bool
    run: bool
    restart: bool
    dry_run: bool
    json: bool


def run(options: DeployOptions, *, pages: Pages | None) -> int:
    """Write the files, with `--dry-run` print them, or with `--run` start what they would."""
    if options.run:
        return _serve(options, pages)
    bundle = deploy(
        options.model,
        cluster=options.cluster,
        target=options.target,
        type_name=preset_asked(options.type_, options.bits),
        users=options.users,
        n_ctx=options.context,
        weights=options.weights,
        programs=options.programs,
        port=options.port,
        image=options.image,
        parallel=options.parallel_shape,
        trust_network=options.trust_network,
        topology=options.topology,
        session=terminal_session(quiet=options.json, keeps=False),
    )
    folder = None
    if not options.dry_run:
        folder = options.output or Path.cwd() / f"{bundle.model}-{bundle.target}"
        bundle.write(folder, overwrite=options.overwrite)
    if options.json:
        print_json(bundle.as_json(folder))
    elif folder is None:
        _print_files(bundle)
    else:
        _tell(bundle, folder)
    return 0


def _serve(options: DeployOptions, pages: Pages | None) -> int:
    """Serve over the cluster until Ctrl-C. Raises Misuse for what only files have."""
    if options.target not in {"rpc", "vllm"}:
        raise Misuse(
            "`run` starts the targets rpc and vllm, and not {target}.", target=options.target
        )
    of_files = {
        "`programs`": options.programs,
        "`image`": options.image,
        "`topology`": options.topology,
        "`output`": options.output,
        "`dry_run`": options.dry_run,
        "--json": options.json,
    }
    if options.target == "rpc":
        of_files["`preset`"] = preset_asked(options.type_, options.bits)
        of_files["`weights`"] = options.weights
    if given := [name for name, value in of_files.items() if value]:
        raise Misuse(
            "{options} is for files that are written; leave it out with `run`.",
            options=listed(given),
        )
    over = _over_rpc if options.target == "rpc" else _over_vllm
    return stay(over(options, pages), has_pages=pages is not None)


def _over_rpc(options: DeployOptions, pages: Pages | None) -> AbstractContextManager[Serving]:
    users = options.users or 1
    return serve_cluster(
        options.model,
        options.cluster,
        trust_network=options.trust_network,
        restart=options.restart,
        port=options.port,
        pages=pages,
        session=terminal_session(aside=True, keeps=False),
        n_ctx=(options.context or DEFAULT_CONTEXT) * users,
        n_parallel=users,
    )


def _over_vllm(options: DeployOptions, pages: Pages | None) -> AbstractContextManager[Serving]:
    from hakaru.serving.serve_replicas import serve_replicas  # it needs a web framework

    return serve_replicas(
        options.model,
        options.cluster,
        type_name=preset_asked(options.type_, options.bits),
        users=options.users,
        n_ctx=options.context,
        weights=options.weights,
        parallel=options.parallel_shape,
        trust_network=options.trust_network,
        restart=options.restart,
        port=options.port,
        pages=pages,
        session=terminal_session(aside=True, keeps=False),
    )


def _print_files(bundle: Bundle) -> None:
    """Each file below its name, as `head` prints several files."""
    for file in bundle.files:
        print(f"==> {file.name} <==\n{file.text}")


def _tell(bundle: Bundle, folder: Path) -> None:
    print_text(bundle.reason)
    for file in bundle.files:
        print_text(say("Written: {path}", path=whole(pasted(folder / file.name))))
    for step in bundle.steps:
        print_text(step)
