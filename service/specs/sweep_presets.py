"""Named sweeps. Data only, as `service.specs.presets`."""

from typing import Any, NamedTuple


class Published(NamedTuple):
    """A row of the source's table: a point, and the test accuracy that was printed for it."""

    params: dict[str, Any]
    test_accuracy: float


class SweepPreset(NamedTuple):
    """A named sweep, and what its source printed."""

    name: str
    summary: str
    spec: dict[str, Any]
    published: tuple[Published, ...]


def _row(batch_size: int, optimizer: str, learning_rate: float, test_accuracy: float) -> Published:
    params = {"batch_size": batch_size, "optimizer.name": optimizer, "optimizer.learning_rate": learning_rate}
    return Published(params, test_accuracy)


GRID = SweepPreset(
    name="grid",
    summary="The notebook's grid: batch size, optimizer and learning rate of the baseline, with mean squared error.",
    spec={
        # As the notebook did, the test set is watched: its best row was chosen by the figure that it reports.
        "base": {"preset": "baseline", "loss": "mse"},
        "space": {
            "batch_size": [64, 128],
            "optimizer.name": ["adam", "adagrad"],
            "optimizer.learning_rate": [0.01, 0.001],
        },
        "sampler": "grid",
    },
    published=(
        _row(64, "adam", 0.01, 0.1032),
        _row(64, "adam", 0.001, 0.9894),
        _row(64, "adagrad", 0.01, 0.9888),
        _row(64, "adagrad", 0.001, 0.9768),
        _row(128, "adam", 0.01, 0.9139),
        _row(128, "adam", 0.001, 0.9892),
        _row(128, "adagrad", 0.01, 0.9880),
        _row(128, "adagrad", 0.001, 0.9736),
    ),
)

SWEEP_PRESETS: dict[str, SweepPreset] = {preset.name: preset for preset in (GRID,)}
