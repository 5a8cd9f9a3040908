"""The sampler tpe: Optuna, asked and told.

Optuna keeps nothing. Its study is made of a sweep's trials each time it is asked, so that the database alone knows how
far a sweep is.
"""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from service import states
from service.schemas import Trial
from service.specs.sweep import Dimension, FloatRange, IntRange, Params, SweepSpec

STATES = {
    states.TrialState.QUEUED: TrialState.RUNNING,
    states.TrialState.RUNNING: TrialState.RUNNING,
    states.TrialState.SUCCEEDED: TrialState.COMPLETE,
    states.TrialState.PRUNED: TrialState.PRUNED,
    states.TrialState.FAILED: TrialState.FAIL,
    states.TrialState.CANCELLED: TrialState.FAIL,
}

STARTUP_TRIALS = 5
"""Points that are drawn at random before it begins to learn; half of Optuna's default, as sweeps here are short."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(spec: SweepSpec, trials: Sequence[Trial]) -> Params:
    """The point that the tree-structured Parzen estimator would try next (Bergstra et al. 2011, NIPS 24).

    Trials that are still open count as bad ones, so that those that run at the same time are not alike.
    """
    sampler = optuna.samplers.TPESampler(
        seed=spec.seed + len(trials), n_startup_trials=STARTUP_TRIALS, constant_liar=True
    )
    direction = StudyDirection.MAXIMIZE if spec.maximises else StudyDirection.MINIMIZE
    study = optuna.create_study(direction=direction, sampler=sampler)
    distributions = {path: _distribution(dimension) for path, dimension in spec.space.items()}
    study.add_trials([_told(spec, trial, distributions) for trial in trials])
    asked = study.ask(distributions).params
    return {path: _value(spec.space[path], asked[path]) for path in spec.space}


def _told(spec: SweepSpec, trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    state = STATES[trial.state]
    if state == TrialState.COMPLETE and trial.value is None:
        state = TrialState.FAIL
    ended = state in (TrialState.COMPLETE, TrialState.PRUNED)
    return create_trial(
        state=state,
        params={path: _code(spec.space[path], trial.params[path]) for path in distributions},
        distributions=distributions,
        value=trial.value if ended else None,
        # Of two that were pruned, the one that got further is the better one.
        intermediate_values={trial.epochs: trial.value} if ended and trial.value is not None else None,
    )


def _distribution(dimension: Dimension) -> BaseDistribution:
    match dimension:
        case FloatRange(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
        case IntRange(low=low, high=high, log=log):
            return IntDistribution(low, high, log=log)
        case choices:
            # By their numbers: Optuna's categories may not be lists or objects.
            return CategoricalDistribution(range(len(choices)))


def _code(dimension: Dimension, value: Any) -> Any:
    return dimension.index(value) if isinstance(dimension, list) else value


def _value(dimension: Dimension, code: Any) -> Any:
    return dimension[code] if isinstance(dimension, list) else code
