"""Named experiments that a client can ask for instead of spelling them out.

Data only: each is what a client could have sent itself. `service.specs.experiment` fills a request from them.
"""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """A named experiment; `published` is what its source printed, or None where it printed nothing."""

    name: str
    summary: str
    spec: dict[str, Any]
    published: dict[str, float] | None


BASELINE = Preset(
    name="baseline",
    summary="Two convolutions, dropout and a dense layer, trained with Adadelta: the notebook's first model.",
    spec={
        "dataset": "mnist",
        "model": {
            "layers": [
                {"type": "conv2d", "filters": 32, "kernel_size": [3, 3], "activation": "relu"},
                {"type": "conv2d", "filters": 64, "kernel_size": [3, 3], "activation": "relu"},
                {"type": "dropout", "rate": 0.25},
                {"type": "flatten"},
                {"type": "dense", "units": 128, "activation": "relu"},
                {"type": "dropout", "rate": 0.5},
            ]
        },
        "optimizer": {"name": "adadelta", "learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7},
        "loss": "categorical_crossentropy",
        "batch_size": 128,
        "epochs": 6,
        # The notebook watched the test set while it trained; the preset does as it did.
        "validation": {"on": "test"},
    },
    published={"test_accuracy": 0.9903, "test_loss": 0.0277},
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (BASELINE,)}


def fill(given: dict[str, Any], preset: Preset) -> dict[str, Any]:
    """A request with what it leaves out taken from a preset.

    An object inside (`optimizer`, `validation`, …) is completed field by field as long as it does not name another kind
    than the preset's: `{"optimizer": {"learning_rate": 0.5}}` stays Adadelta, `{"optimizer": {"name": "adam"}}` is
    Adam with Adam's defaults.
    """
    filled = preset.spec | {"name": preset.name} | given
    for field, value in given.items():
        base = preset.spec.get(field)
        if isinstance(value, dict) and isinstance(base, dict) and _same_kind(value, base):
            filled[field] = base | value
    return filled


def _same_kind(value: dict[str, Any], base: dict[str, Any]) -> bool:
    return all(tag not in value or value[tag] == base.get(tag) for tag in ("name", "on"))
