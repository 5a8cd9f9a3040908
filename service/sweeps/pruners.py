"""Which trials are ended early: decided anew from all learning curves each time, so nothing has to be remembered.

(Optuna's pruners keep what they have seen of a trial in its storage, and would forget it here.)
"""

import statistics
from collections.abc import Mapping, Sequence

from service.schemas import Trial
from service.specs.sweep import Curve, HyperbandPruner, MedianPruner, SweepSpec
from service.states import OPEN_TRIALS, TrialState


def hopeless(spec: SweepSpec, trials: Sequence[Trial], curves: Mapping[int, Curve]) -> list[Trial]:
    """The open trials that a sweep's pruner would end now.

    Args:
        spec: with or without a pruner.
        trials: all of the sweep's, each of one experiment.
        curves: the objective after each epoch, by the experiment's id.
    """
    sign = 1 if spec.maximises else -1
    known = {
        trial.number: _best_so_far(curves[trial.experiments[0].id], sign)
        for trial in trials
        if trial.experiments and trial.experiments[0].id in curves
    }
    begun = [trial for trial in trials if trial.state in OPEN_TRIALS and trial.number in known]
    match spec.pruner:
        case MedianPruner():
            done = [
                known[trial.number] for trial in trials if trial.state == TrialState.SUCCEEDED and trial.number in known
            ]
            return [trial for trial in begun if _below_median(known[trial.number], done, spec.pruner)]
        case HyperbandPruner():
            epochs = spec.epochs
            return [trial for trial in begun if _left_behind(trial.number, known, spec.pruner, epochs)]
        case None:
            return []


def _best_so_far(curve: Curve, sign: int) -> Curve:
    """The best value up to each epoch; larger is better."""
    best: Curve = {}
    for epoch in sorted(curve):
        best[epoch] = max(sign * curve[epoch], best.get(epoch - 1, sign * curve[epoch]))
    return best


def _below_median(curve: Curve, done: Sequence[Curve], pruner: MedianPruner) -> bool:
    epoch = max(curve)
    others = [other[epoch] for other in done if epoch in other]
    return (
        epoch > pruner.warmup_epochs
        and len(others) >= pruner.startup_trials
        and curve[epoch] < statistics.median(others)
    )


def _left_behind(number: int, known: Mapping[int, Curve], pruner: HyperbandPruner, epochs: int) -> bool:
    """Whether a trial has come to a rung of its bracket and is not among the best there (asynchronous successive
    halving, Li et al. 2020, MLSys 2): one of `reduction_factor` goes on, and of fewer the best."""
    factor = pruner.reduction_factor
    bracket, brackets = _bracket(number, pruner, epochs)
    reached = [rung for rung in _rungs(bracket, pruner, epochs) if rung <= max(known[number])]
    if not reached:
        return False
    rung = reached[-1]
    there = sorted(
        (
            curve[rung]
            for other, curve in known.items()
            if rung in curve and _bracket(other, pruner, epochs) == (bracket, brackets)
        ),
        reverse=True,
    )
    return known[number][rung] < there[max(len(there) // factor, 1) - 1]


def _rungs(bracket: int, pruner: HyperbandPruner, epochs: int) -> list[int]:
    """The epochs after which a bracket's trials are compared; bracket 0 has the most of them."""
    rungs, rung = [], pruner.min_epochs * pruner.reduction_factor**bracket
    while rung < epochs:
        rungs.append(rung)
        rung *= pruner.reduction_factor
    return rungs


def _bracket(number: int, pruner: HyperbandPruner, epochs: int) -> tuple[int, int]:
    """The bracket of a trial, of how many.

    The brackets take turns, each as often as Hyperband gives it trials: for the same budget of epochs, one that ends
    most of its trials early has room for more of them.
    """
    factor = pruner.reduction_factor
    brackets = 1
    while pruner.min_epochs * factor**brackets <= epochs:
        brackets += 1
    # Hyperband's n for s halvings, s = brackets - 1 - bracket: ceil(brackets / (s + 1) * factor**s).
    sizes = [-(-brackets * factor ** (brackets - 1 - bracket) // (brackets - bracket)) for bracket in range(brackets)]
    place = (number - 1) % sum(sizes)
    for bracket, size in enumerate(sizes):
        if place < size:
            return bracket, brackets
        place -= size
    raise AssertionError("the sizes add up")
