"""What was measured of the model that is served, in cards for its page: the tier and whether the
model keeps it, what it lost in plain words, and how fast it is here.

The figures come from the latest decision (`hakaru up`, `hakaru tune`) or the last `hakaru test`,
whichever is younger, and from the ledger's speeds at the same settings on this kind of machine.
Nothing is measured for a page, and no file is hashed: a file that was never hashed was never
measured. Where something is missing, the page has the command that measures it.
"""

from msgspec import Struct

from hakaru.choosing.past import Past, past_of
from hakaru.errors import MachineError
from hakaru.evaluation.last_test import Loss, last_test
from hakaru.evaluation.tiers import TIERS, one_word_in
from hakaru.evaluation.timing import Timing
from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.session import Session
from hakaru.units import Figure
from hakaru.web.cards import Card
from hakaru.web.lineup import Served
from hakaru.web.pasted import options, shell_path


class Measured(Struct, frozen=True, kw_only=True):
    """What is known of the model at its settings on this machine; None where nothing is."""

    loss: Loss | None = None
    is_source: bool = False  # the other levels of a decision were compared with this file
    decode: Figure | None = None  # tokens/s
    prefill: Figure | None = None  # tokens/s
    is_contended: bool = False  # other programs computed while the speed was measured


def measured_of(one: Served, machine: Machine) -> Measured:
    """What the ledger and the evidence know of the model that is served."""
    try:
        ledger = Ledger(keeps=False)
    except MachineError:  # a damaged one; the page has more to tell
        return Measured()
    try:
        sha256 = ledger.known_model_sha256(one.model)
        return _measured(sha256, one.settings, machine, ledger) if sha256 else Measured()
    except (MachineError, OSError):  # the model's file was moved away
        return Measured()
    finally:
        ledger.close()


def _measured(sha256: str, settings: ContextSettings, machine: Machine, ledger: Ledger) -> Measured:
    past, tested = past_of(sha256, settings), last_test(ledger, sha256, settings.cache)
    losses = [loss for loss in (past.loss if past else None, tested) if loss]
    decode, prefill, is_contended = _speed(sha256, past, settings, machine, ledger)
    return Measured(
        loss=max(losses, key=lambda loss: loss.at, default=None),
        is_source=past is not None and past.is_source,
        decode=decode,
        prefill=prefill,
        is_contended=is_contended,
    )


def _speed(
    sha256: str, past: Past | None, settings: ContextSettings, machine: Machine, ledger: Ledger
) -> tuple[Figure | None, Figure | None, bool]:
    """Decode and prefill, and whether other programs computed meanwhile. The ledger keeps no such
    speed; a decision tells it.
    """
    timing = Timing(session=Session(machine=machine, ledger=ledger))
    if trial := timing.known_trial(sha256, settings):
        return trial.speed.decode_tokens_per_s, trial.speed.prefill_tokens_per_s, False
    if past and past.machine == machine.fingerprint:
        return past.decode_tokens_per_s, past.prefill_tokens_per_s, past.is_contended
    return None, None, False


def cards(measured: Measured) -> list[Card]:
    """The cards of the page, for what is known."""
    told = [_tier(measured.loss), _lost(measured)] if measured.loss else []
    speeds = ((say("Writes an answer"), measured.decode), (say("Reads a prompt"), measured.prefill))
    return told + [
        Card(
            label=label,
            value=say("{n} tokens/s", n=_short(figure.value)),
            note=_range(figure, is_contended=measured.is_contended),
        )
        for label, figure in speeds
        if figure
    ]


def commands(measured: Measured, model: Model, settings: ContextSettings) -> list[tuple[str, str]]:
    """What would measure what is not known: sentences, each with its command."""
    told, command = [], f"hakaru test {shell_path(model)}{options(model, settings)}"
    if measured.decode is None:
        told.append((say("How fast it is here was not measured yet. To measure it:"), command))
    if measured.loss is None:
        sentence = say(
            "What it lost was not measured yet. To measure it, put the file that this one was made "
            "from in the place of ORIGINAL.gguf:"
        )
        told.append((sentence, f"{command} --reference ORIGINAL.gguf"))
    return told


def _tier(loss: Loss) -> Card:
    tier = TIERS[loss.tier]
    sign, kind, verdict = {
        "pass": ("✓", "good", say("kept")),
        "fail": ("✗", "bad", say("not kept")),
        "inconclusive": ("?", "", say("not proven")),
        None: ("?", "", say("not judged")),
    }[loss.verdict]
    return Card(
        label=say("Tier {tier}", tier=tier.name),
        value=f"{sign} {verdict}",
        note=say(
            "The tier allows a loss of {loss:g} on average: at most one word in {n} comes out "
            "differently. The likeliest word must be the same in at least {top1:g} of 100 places.",
            loss=tier.kld_mean,
            n=tier.one_word_in,
            top1=round(100 * tier.top1_agreement, 1),
        ),
        kind=kind,
    )


def _lost(measured: Measured) -> Card:
    """The loss in plain words, at the worse end of its interval."""
    loss = measured.loss
    assert loss is not None
    if measured.is_source or not loss.n_windows:
        note = say("This is the file with which smaller ones are compared.")
        return Card(label=say("Loss"), value=say("none"), note=note)
    n = one_word_in(loss.kld_mean.highest)
    different = (
        say("At most one word in {n:,} comes out differently", n=n)
        if n > 1
        else say("The next word may be a different one more often than not")
    )
    same = say(
        "the likeliest word is the same in {top1:.1f} of 100 places",
        top1=100 * loss.top1_agreement.value,
    )
    low, high = f"{loss.kld_mean.lowest:.4f}", f"{loss.kld_mean.highest:.4f}"
    return Card(
        label=say("Loss"),
        value=f"{loss.kld_mean.value:.4f}",
        note=say(
            "{different}; {same}. The 95% interval is {low} to {high}, on {n} windows of text.",
            different=different,
            same=same,
            low=low,
            high=high,
            n=loss.n_windows,
        ),
    )


def _range(figure: Figure, *, is_contended: bool) -> str:
    if is_contended:
        return say("Other programs computed meanwhile, so this says little.")
    return say(
        "{low} to {high} over several runs", low=_short(figure.lowest), high=_short(figure.highest)
    )


def _short(n: float) -> str:
    """A speed with about three digits."""
    return f"{n:,.0f}" if n >= 100 else f"{n:.1f}"
