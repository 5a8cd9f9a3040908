"""Sweeps are led step by step; the worker in between is played by what a worker writes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from service import schemas
from service.specs.experiment import ExperimentSpec
from service.specs.sweep import SweepSpec
from service.states import Request, State, SweepState, TrialState
from service.store import control, experiments, queue, results, sweeps
from service.store.database import reading, writing
from service.sweeps import lead

BASE = {
    "model": {"layers": [{"type": "flatten"}]},
    "optimizer": {"name": "adam"},
    "dataset": "optdigits",
    "epochs": 6,
}

REPORT = schemas.Evaluation(
    loss=0.1,
    accuracy=1.0,
    labels=list(range(10)),
    confusion_matrix=[[1 if row == column else 0 for column in range(10)] for row in range(10)],
    per_class=[schemas.ClassReport(label=label, precision=1, recall=1, f1=1, support=1) for label in range(10)],
)

Curve = Callable[[ExperimentSpec, int], float]
"""The validation accuracy of an experiment after an epoch."""


def begin(database: Engine, **given: Any) -> int:
    spec = SweepSpec.model_validate({"base": BASE} | given)
    with writing(database) as session:
        sweep_id = sweeps.create(session, spec).id
    lead.step(database, sweep_id)
    return sweep_id


def look(database: Engine, sweep_id: int) -> schemas.SweepDetails:
    with reading(database) as session:
        return sweeps.details(session, sweeps.get(session, sweep_id))


def state_of(database: Engine, experiment_id: int) -> str:
    with reading(database) as session:
        return experiments.get(session, experiment_id).state


def train(database: Engine, sweep_id: int, curve: Curve) -> int | None:
    """Train what is first in the queue to its end; None if there is nothing."""
    with writing(database) as session:
        lease = queue.claim(session, "worker-1", 60)
    if lease is None:
        return None
    with writing(database) as session:
        results.start(session, lease, "cpu:0", 7850)
    for epoch in range(1, lease.spec.epochs + 1):
        value = curve(lease.spec, epoch)
        metrics = schemas.EpochMetrics(
            epoch=epoch,
            train_loss=1 - value,
            train_accuracy=value,
            val_loss=1 - value,
            val_accuracy=value,
            seconds=1.0,
            learning_rate=0.1,
        )
        with writing(database) as session:
            results.epoch(session, lease, metrics)
        lead.step(database, sweep_id)
        with writing(database) as session:
            if queue.heartbeat(session, lease, 60) == Request.CANCEL:
                results.cancelled(session, lease, b"")
                return lease.experiment_id
    result = schemas.Result(
        test_loss=0.1,
        test_accuracy=curve(lease.spec, lease.spec.epochs) - 0.01,
        parameters=7850,
        train_seconds=2.0,
        images_per_second=100.0,
    )
    with writing(database) as session:
        results.succeed(session, lease, result, REPORT, {}, b"")
    return lease.experiment_id


def finish(database: Engine, sweep_id: int, curve: Curve) -> schemas.SweepDetails:
    """Work until the queue is empty."""
    while train(database, sweep_id, curve) is not None:
        lead.step(database, sweep_id)
    return look(database, sweep_id)


def by_batch_size(spec: ExperimentSpec, epoch: int) -> float:
    """Best at 64; better with each epoch but the last."""
    quality = 1 - abs(math.log2(spec.batch_size) - 6) / 10
    return quality * (0.9 if epoch == spec.epochs else 0.5 + 0.1 * epoch)


def by_learning_rate(spec: ExperimentSpec, epoch: int) -> float:
    """Best at 0.01."""
    return (1 - abs(math.log10(spec.optimizer.learning_rate) + 2) / 5) * (1 - 0.5**epoch)


class TestGrid:
    def test_every_point_is_tried_and_the_best_epoch_counts(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [16, 64, 256], "seed": [0, 1]}, parallel=2, name="sizes")
        assert [trial.state for trial in look(database, sweep_id).trials] == [TrialState.QUEUED] * 2
        done = finish(database, sweep_id, by_batch_size)
        assert (done.state, done.progress.ended, done.progress.begun, done.progress.trials) == ("succeeded", 6, 6, 6)
        assert done.finished_at
        assert [trial.params["batch_size"] for trial in done.trials[:2]] == [64, 64]
        assert done.best == done.trials[0]
        # After the fifth of six epochs, not after the last one.
        assert done.trials[0].value == pytest.approx(1.0)
        assert done.trials[0].experiments[0].best_epoch == 5
        values = [trial.value for trial in done.trials]
        assert values == sorted(values, reverse=True)
        assert done.progress.epochs == 36

    def test_no_more_than_parallel_are_open(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [1, 2, 3, 4, 5]}, parallel=3)
        for open_then in (3, 3, 3, 2, 1, 0):
            trials = look(database, sweep_id).trials
            assert sum(trial.state in ("queued", "running") for trial in trials) == open_then
            train(database, sweep_id, by_batch_size)
            lead.step(database, sweep_id)

    def test_a_loss_is_minimised(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [16, 64]}, objective="val_loss")
        best = finish(database, sweep_id, by_batch_size).best
        assert best is not None
        assert best.params == {"batch_size": 64}
        assert best.value == pytest.approx(0.0)

    def test_seeds_make_a_mean_and_a_deviation(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [32, 64]}, seeds=3, base=BASE | {"epochs": 1})
        done = finish(database, sweep_id, lambda spec, epoch: spec.batch_size / 100 + spec.seed / 10)
        assert done.best is not None
        assert done.best.params == {"batch_size": 64}
        assert done.best.value == pytest.approx(0.74)
        assert done.best.value_std == pytest.approx(0.1)
        assert done.best.test_accuracy == pytest.approx(0.73)
        assert done.best.test_accuracy_std == pytest.approx(0.1)
        assert done.best.train_seconds == 6.0
        assert [each.seed for each in done.best.experiments] == [0, 1, 2]


class TestLosses:
    def test_a_failed_trial_does_not_end_the_sweep(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [16, 64]})
        with writing(database) as session:
            lease = queue.claim(session, "worker-1", 60)
            assert lease is not None
            results.fail(session, lease, "diverged", "The loss became NaN.", b"")
        done = finish(database, sweep_id, by_batch_size)
        assert done.state == SweepState.SUCCEEDED
        assert [trial.state for trial in done.trials] == [TrialState.SUCCEEDED, TrialState.FAILED]

    def test_a_sweep_whose_trials_all_fail_fails(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [16, 64]})
        for _ in range(2):
            with writing(database) as session:
                lease = queue.claim(session, "worker-1", 60)
                assert lease is not None
                results.fail(session, lease, "diverged", "The loss became NaN.", b"")
        lead.step(database, sweep_id)
        done = look(database, sweep_id)
        assert (done.state, done.best, done.error) == (SweepState.FAILED, None, "No trial has succeeded.")

    def test_what_owners_do_to_trials_does_not_stop_it(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [16, 32, 64]})
        first, second = (trial.experiments[0].id for trial in look(database, sweep_id).trials)
        with writing(database) as session:
            control.cancel(session, first)
            control.delete(session, second)
        lead.step(database, sweep_id)
        done = finish(database, sweep_id, by_batch_size)
        assert done.state == SweepState.SUCCEEDED
        assert [trial.state for trial in done.trials] == [TrialState.SUCCEEDED] + [TrialState.CANCELLED] * 2

    def test_values_that_are_impossible_together_are_failed_trials(self, database: Engine) -> None:
        convolution = {"type": "conv2d", "filters": 2, "kernel_size": [1, 1]}
        pooling = {"type": "max_pooling2d", "pool_size": [1, 1]}
        layers = [convolution, pooling, {"type": "flatten"}]
        sweep_id = begin(
            database,
            base=BASE | {"model": {"layers": layers}},
            space={
                "model.layers.0.kernel_size.0": {"low": 1, "high": 28},
                "model.layers.1.pool_size.0": {"low": 1, "high": 28},
            },
            sampler="random",
            trials=12,
            parallel=12,
        )
        done = finish(database, sweep_id, by_batch_size)
        impossible = [trial for trial in done.trials if trial.state == TrialState.FAILED]
        assert done.state == SweepState.SUCCEEDED
        assert 0 < len(impossible) < 12
        for trial in impossible:
            assert trial.experiments == []
            assert "is larger than" in (trial.error or "")

    def test_cancelling_it_cancels_its_trials(self, database: Engine) -> None:
        sweep_id = begin(database, space={"batch_size": [16, 32, 64]}, parallel=2)
        with writing(database) as session:
            running = queue.claim(session, "worker-1", 60)
        assert running is not None
        with writing(database) as session:
            sweeps.cancel(session, sweep_id)
        lead.step(database, sweep_id)
        done = look(database, sweep_id)
        assert (done.state, done.progress.begun) == (SweepState.CANCELLED, 2)
        with writing(database) as session:
            assert queue.heartbeat(session, running, 60) == Request.CANCEL
            results.cancelled(session, running, b"")
        waiting = next(
            each.id for trial in done.trials for each in trial.experiments if each.id != running.experiment_id
        )
        assert state_of(database, waiting) == State.CANCELLED
        assert {trial.state for trial in look(database, sweep_id).trials} == {TrialState.CANCELLED}


LEARNING_RATE = {"optimizer.learning_rate": {"low": 1e-5, "high": 10.0, "log": True}}


class TestSamplers:
    @pytest.mark.parametrize("sampler", ["random", "tpe"])
    def test_the_same_seed_gives_the_same_points(self, database: Engine, sampler: str) -> None:
        def points(seed: int) -> list[dict[str, Any]]:
            space = LEARNING_RATE | {
                "batch_size": {"low": 8, "high": 256, "log": True},
                "epochs": {"low": 1, "high": 3},
                "augmentation": [None, {"shift": 0.1}],
            }
            sweep_id = begin(database, space=space, sampler=sampler, trials=7, seed=seed, parallel=1)
            done = finish(database, sweep_id, by_learning_rate)
            return [trial.params for trial in sorted(done.trials, key=lambda trial: trial.number)]

        first = points(0)
        assert points(0) == first
        assert points(1) != first
        for params in first:
            assert 1e-5 <= params["optimizer.learning_rate"] <= 10
            assert 8 <= params["batch_size"] <= 256
            assert params["epochs"] in (1, 2, 3)
        assert len({params["optimizer.learning_rate"] for params in first}) == 7

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_tpe_learns(self, database: Engine) -> None:
        def best(sampler: str) -> float:
            sweep_id = begin(
                database, space=LEARNING_RATE, sampler=sampler, trials=25, parallel=1, base=BASE | {"epochs": 1}
            )
            trials = sorted(finish(database, sweep_id, by_learning_rate).trials, key=lambda trial: trial.number)
            values = [trial.value or 0.0 for trial in trials[-10:]]
            return sum(values) / len(values)

        assert best("tpe") > best("random")


SOME_HOPELESS = {"optimizer.learning_rate": [1e-2, 10.0, 5.0, 2e-2, 5e-3, 3e-2, 1.2e-2]}


class TestPruners:
    @pytest.mark.parametrize(
        "pruner", [{"name": "median", "startup_trials": 2}, {"name": "hyperband", "reduction_factor": 2}]
    )
    def test_what_is_hopeless_ends_early_and_says_so(self, database: Engine, pruner: dict[str, Any]) -> None:
        sweep_id = begin(database, space=SOME_HOPELESS, pruner=pruner, parallel=1)
        done = finish(database, sweep_id, by_learning_rate)
        pruned = [trial for trial in done.trials if trial.state == TrialState.PRUNED]
        assert done.state == SweepState.SUCCEEDED
        assert done.best is not None
        assert done.best.params == {"optimizer.learning_rate": 0.01}
        assert 5.0 in {trial.params["optimizer.learning_rate"] for trial in pruned}
        for trial in pruned:
            [experiment] = trial.experiments
            assert experiment.state == State.CANCELLED
            assert trial.pruned_epoch == experiment.epochs
            assert 1 <= experiment.epochs < 6
            with reading(database) as session:
                record = schemas.Experiment.model_validate(experiments.get(session, experiment.id))
                told = [event.data for event in experiments.events(session, experiment.id) if "reason" in event.data]
            assert record.sweep is not None
            assert (record.sweep.sweep_id, record.sweep.trial) == (sweep_id, trial.number)
            assert record.sweep.pruned_epoch == trial.pruned_epoch
            assert told == [{"reason": "pruned", "sweep": sweep_id, "epoch": trial.pruned_epoch}]
        # Cancelled or not, each of them comes behind those that were trained to their end.
        states = [trial.state for trial in done.trials]
        assert states == sorted(states, key=lambda state: state == TrialState.PRUNED)


def test_several_leaders_do_not_get_in_each_others_way(database: Engine) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sweep_id = begin(database, space={"batch_size": [1, 2, 3, 4, 5, 6]}, parallel=2)
    while train(database, sweep_id, by_batch_size) is not None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: lead.step(database, sweep_id), range(4)))
    done = look(database, sweep_id)
    assert sorted(trial.params["batch_size"] for trial in done.trials) == [1, 2, 3, 4, 5, 6]
    assert len({each.id for trial in done.trials for each in trial.experiments}) == 6
    assert done.state == SweepState.SUCCEEDED
