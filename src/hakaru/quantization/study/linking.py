"""The link of one model, from what is measured of it: sensitivities from probes, and runs.

A run is a whole recipe whose loss is measured. What the link predicts for a recipe, and how it does
that, stands in `prediction.py`.
"""

from collections.abc import Mapping
from typing import Final

from hakaru.formats.imatrix import Imatrix
from hakaru.quantization.prediction import Link, changes, fit_link
from hakaru.quantization.probes import (
    Errors,
    Probe,
    doubt,
    group_probes,
    least_change,
    most_uncertain,
)
from hakaru.quantization.sensitivity import Sensitivities, prior_sensitivities, with_readings
from hakaru.quantization.study.probing import known_sums, reading_of, readings
from hakaru.quantization.study.study import Study
from hakaru.units import Figure

SINGLES_AT_ONCE: Final = 16
SURE: Final = 0.03
"""Single tensors are probed until the damage of the model at the probes' strength is known to this
relative standard error.
"""
CHOSEN: Final = 0.5
"""The relative standard error that is added to the prediction of a mix that the solver chose near a
quantized source. Without it three of 19 such mixes of three sources lay outside their interval, by
up to 1.0 in log KLD (docs/labbook.md).
"""


def measured_link(study: Study, errors: Errors, imatrix: Imatrix | None) -> Link:
    """Sensitivities from probes, and the link from runs of one type everywhere; both are
    remembered. A quantized source takes one run more, for the floor.
    """
    recipes = study.choices.run_recipes(errors, study.sampling.runs)
    probes = [Probe(name=name, types=types) for name, types in recipes.items()]
    probed = sensitivities(study, errors, imatrix)
    runs = readings(study, "runs", probes, study.validation, imatrix)
    least = least_change(errors, study.choices.own_grids)
    gentle = [Probe(name="floor", types=least)]
    floors = readings(study, "runs", gentle, study.validation, imatrix) if least else []
    floors = [reading for reading in floors if reading.kld > 0]
    return fit_link(probed, errors, [*runs, *floors], floor=floors[0].kld if floors else 0.0)


def sensitivities(study: Study, errors: Errors, imatrix: Imatrix | None) -> Sensitivities:
    """The sensitivities after the probes of this effort. Effort thorough goes on with single
    tensors, the least certain first, until the damage of the model is SURE.
    """
    names, n_singles = tuple(errors), study.sampling.n_singles
    prior = (
        study.priors.of(names) if study.glance else study.priors.before_probes(names, keeps=True)
    )
    read = readings(study, "probes", group_probes(errors, study.effort), study.calibration, imatrix)
    before = prior_sensitivities(names, study.priors.before_probes(names) if read else prior)
    after, singles = with_readings(before, read, errors), list[str]()
    while len(singles) < n_singles and doubt(after, errors) > SURE:
        n = min(SINGLES_AT_ONCE, n_singles - len(singles))
        probes = most_uncertain(after, errors, n=n, done=singles)
        single = "single tensors"
        new = readings(study, single, probes, study.calibration, imatrix) if probes else []
        if not new:
            break
        read += new
        singles += [probe.name for probe in probes]
        after = with_readings(before, read, errors)
    if read:
        study.priors.learn(after)
    return after


def with_own_run(
    study: Study, link: Link, types: Mapping[str, str], imatrix: Imatrix | None
) -> Link:
    """The link with a run of the very recipe that was chosen, on all validation windows: the least
    of thousands of predictions is too low as a rule, and its interval does not know that.
    """
    if not link.runs or not changes(types, link.errors):
        return link
    sums = known_sums(study, [types], study.validation, imatrix, "runs")
    run = reading_of(types, sums[0]) if sums else None
    return link.with_run(run) if run and run.kld > 0 else link


def predicted_loss(study: Study, link: Link, types: Mapping[str, str]) -> Figure:
    """The predicted loss of a mix that the solver chose. The interval is wider (CHOSEN) for a mix
    that copies quantized tensors and has no run of its own.
    """
    is_known = any(
        changes(run.types, link.errors) == changes(types, link.errors) for run in link.runs
    )
    copies = bool(study.choices.copied(types) & study.choices.own_grids.keys())
    return link.predict(
        types, standard_error=CHOSEN if copies and link.runs and not is_known else 0.0
    )
