"""`hakaru choose`: which model for a task on a machine, or which machine for a model."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hakaru.cli.output import next_step, print_aside, print_json
from hakaru.cli.paste import pasted
from hakaru.cli.tell.choose import print_chosen
from hakaru.errors import Misuse
from hakaru.language import current_language, say
from hakaru.models.benchmarks import Task
from hakaru.pictures.save import check_picture
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen
from hakaru.selection.conditions import Asked
from hakaru.selection.cost import Prices
from hakaru.selection.money import Money, parse_money

if TYPE_CHECKING:
    from hakaru.selection.buying import Shopping
    from hakaru.session import Session


@dataclass(frozen=True, kw_only=True)
class ChooseOptions:
    """`hakaru choose`."""

    task: str
    language: str | None  # None: that of the text
    context: int | None  # of one user
    hardware: str | None
    memory: str | None
    min_speed: float | None
    users: int | None
    license: str
    prompt_tokens: int | None
    answer_tokens: int | None
    first_token: float | None  # seconds
    top: int
    model: str | None
    for_hardware: str | None
    race: bool
    tasks: tuple[str, ...]
    ray: str | None
    yes: bool
    electricity: str | None
    watts: float | None
    cloud: str | None
    price: str | None
    tokens_per_day: int | None
    explain: bool
    plot: Path | None
    json: bool


def run(options: ChooseOptions) -> int:
    """Print the rows. Returns 3 if nothing meets every condition."""
    task: Task = options.task  # type: ignore[assignment]  # another text is refused
    if options.plot:
        check_picture(options.plot)
    if options.race:
        return _race(options)
    if options.ray:
        raise Misuse("`ray` says where `race` asks its tasks; name `race`, or leave `ray` out.")
    if options.for_hardware is not None:
        return _buy(task, options)
    chosen = _chosen(options, _session(options))
    if options.json:
        print_json(chosen.as_json())
    else:
        print_chosen(chosen, explain=options.explain)
        next_step(after_choose(chosen))
    return 0 if chosen.rows else 3


def _draw(chosen: Chosen, path: Path) -> None:
    if not chosen.rows:
        print_aside(say("{path} is not written: there is no row to draw.", path=path))
        return
    from hakaru.pictures.choice_picture import save_choice_picture

    save_choice_picture(chosen, path)


def _chosen(options: ChooseOptions, session: "Session | None") -> Chosen:
    chosen = choose(
        options.task,  # type: ignore[arg-type]  # another text is refused
        hardware=options.hardware,
        memory=options.memory,
        model=options.model,
        top=options.top,
        prices=_prices(options),
        session=session,
        **_asked(options),
    )
    if options.plot:
        _draw(chosen, options.plot)
    return chosen


def _race(options: ChooseOptions) -> int:
    """Race the best rows on this machine."""
    from hakaru.cli.to_race import check_race, run_race

    check_race(options)
    return run_race(
        options,
        partial(_chosen, options),
        lambda chosen: print_chosen(chosen, explain=options.explain),
    )


def _buy(task: Task, options: ChooseOptions) -> int:
    """Print what to buy. Returns 3 if no accelerator runs the model so fast."""
    from hakaru.cli.tell.purchases import print_shopping
    from hakaru.selection.buying import shopping

    if options.for_hardware != "any":
        raise Misuse(
            "`for_hardware` is '{found}', expected any: it asks which accelerators would run a "
            "model. For one machine, name it with `hardware`.",
            found=options.for_hardware,
        )
    if options.plot:
        raise Misuse("`plot` draws the rows for one machine; leave `for_hardware` out.")
    found = shopping(options.model, task, **_asked(options))
    if options.json:
        print_json(found.as_json(options.top))
    else:
        print_shopping(found, options.top)
        if found.purchases:
            next_step(after_buying(found))
    return 0 if found.purchases else 3


def _asked(options: ChooseOptions) -> Asked:
    return Asked(
        language=options.language or current_language(),
        n_ctx=options.context,
        min_speed=options.min_speed,
        first_token_s=options.first_token,
        users=options.users,
        prompt_tokens=options.prompt_tokens,
        answer_tokens=options.answer_tokens,
        license=options.license,
    )


def _session(options: ChooseOptions) -> "Session | None":
    """None for a machine that was named: nothing of this one is asked."""
    if options.hardware is not None:
        return None
    from hakaru.cli.terminal import terminal_session

    return terminal_session(quiet=options.json, keeps=False)


def _prices(options: ChooseOptions) -> Prices | None:
    """What the person pays; None where nothing of it was named."""
    names = ("electricity", "cloud", "price", "watts", "tokens_per_day")
    if all(getattr(options, name) is None for name in names):
        return None
    return Prices(
        electricity=_money(options.electricity, "electricity", "31 JPY/kWh", "kwh"),
        cloud=_money(options.cloud, "cloud", "0.6 USD"),
        machine=_money(options.price, "price", "300000 JPY"),
        tokens_per_day=options.tokens_per_day,
        watts=options.watts,
    )


def _money(text: str | None, name: str, example: str, *per: str) -> Money | None:
    return parse_money(text, name=f"`{name}`", example=example, per=per) if text else None


def after_buying(found: "Shopping") -> str:
    """What else runs on the first of them."""
    first = found.purchases[0]
    count = f"{first.count}x " if first.count > 1 else ""
    return pasted("hakaru", "choose", "--hardware", f"{count}{first.name}")


def after_choose(chosen: Chosen) -> str:
    """To fetch the recommended row; where there is none, the list of names."""
    first = chosen.recommended
    if first is None:
        return "hakaru ls --catalog"
    name = f"{first.model.id}:{first.type}"
    return pasted("hakaru", "pull", name, *(["--vision"] if first.eyes else []))
