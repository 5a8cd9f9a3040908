"""Which experiments the notebook comes to."""

import pytest

from service.notebook.plan import DOSES, Look, Plan, cell_run, dose_run, identity, plan
from service.specs.experiment import ExperimentSpec
from service.specs.presets import PRESETS
from service.specs.sweep import SweepSpec


def preset(name: str, **given: object) -> str:
    return identity(ExperimentSpec.model_validate({"preset": name} | given))


def identities(made: Plan) -> set[str]:
    return set(made.titles)


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_thirteen_runs_a_seed_and_fewer_proofs(seeds: int) -> None:
    alone = plan(Look(seeds, proofs=False))
    assert len(alone.titles) == len(alone.runs) + sum(len(grid.points) for grid in alone.grids) == 13 * seeds
    whole = plan(Look(seeds))
    assert identities(alone) < identities(whole)
    # A dose between the ends, four cells that no preset covers, a lower momentum, a grid of eight.
    assert len(whole.titles) == len(whole.runs) + sum(len(grid.points) for grid in whole.grids) == 13 * seeds + 14
    assert list(whole.groups.values()).count("proofs") == 14
    assert len(set(whole.titles.values())) == len(whole.titles)


def test_the_notebooks_runs_are_its_presets() -> None:
    made = plan(Look(2, proofs=False))
    names = ["baseline", "batch-norm", "image-norm", "image-batch-norm", "extra-conv"]
    assert {run.identity for run in made.runs} == {preset(name, seed=seed) for name in names for seed in (0, 1)}
    for seed, grid in enumerate(made.grids):
        sweep = SweepSpec.model_validate({"preset": "grid"})
        expected = [
            identity(spec.model_copy(update={"seed": seed}))
            for params in sweep.grid()
            for spec in sweep.experiments(params, 0)
        ]
        assert [point.identity for point in grid.points] == expected
        assert [identity(ExperimentSpec.model_validate(point.request)) for point in grid.points] == expected


def test_proofs_end_in_presets() -> None:
    look = Look(1)
    assert dose_run(DOSES[-1], look).identity == preset("image-norm")
    assert dose_run(DOSES[0], look).identity == cell_run("Adam", "without", "/ 255", look).identity
    assert cell_run("Adadelta", "without", "/ 255", look).identity == preset("baseline")
    assert cell_run("Adadelta", "with", "/ 255", look).identity == preset("batch-norm")
    assert cell_run("Adam", "without", "/ 255 / 255", look).identity == preset("image-norm")
    assert cell_run("Adadelta", "with", "/ 255 / 255", look).identity == preset("image-batch-norm")


def test_a_quick_look_changes_every_run() -> None:
    quick = plan(Look(1, train_limit=100, epochs=2, dataset="optdigits"))
    assert not identities(quick) & identities(plan(Look(1)))
    for run in quick.runs:
        spec = ExperimentSpec.model_validate(run.request)
        assert (spec.train_limit, spec.epochs, spec.dataset, spec.tags) == (100, 2, "optdigits", ["notebook"])


def test_more_seeds_only_add() -> None:
    assert identities(plan(Look(3))) < identities(plan(Look(4)))


def test_every_preset_of_the_plan_exists() -> None:
    assert {run.request["preset"] for run in plan(Look(1)).runs} <= set(PRESETS)
