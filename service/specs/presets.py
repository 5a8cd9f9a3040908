"""Named experiments that a client can ask for instead of spelling them out.

Data only: each is what a client could have sent itself. `service.specs.experiment` fills a request from them.

The first five are a notebook's models, as they ran on Keras 2.3: every parameter of an optimizer is written out,
because Keras 3 has other defaults. Batch normalisation has the same ones in both (momentum 0.99, epsilon 0.001).
"""

from typing import Any, NamedTuple

Layers = list[dict[str, Any]]


class Preset(NamedTuple):
    """A named experiment; `published` is what its source printed about it, or None where it printed nothing."""

    name: str
    summary: str
    spec: dict[str, Any]
    published: dict[str, float] | None


# The notebook's parts. Each layer is followed by its own activation; normalisation comes behind that.
CONV_32 = {"type": "conv2d", "filters": 32, "kernel_size": [3, 3], "activation": "relu"}
CONV_64 = {"type": "conv2d", "filters": 64, "kernel_size": [3, 3], "activation": "relu"}
DENSE = {"type": "dense", "units": 128, "activation": "relu"}
NORMALISE = {"type": "batch_normalization", "momentum": 0.99, "epsilon": 1e-3}
DROP_MAP = {"type": "dropout", "rate": 0.25}
DROP_VECTOR = {"type": "dropout", "rate": 0.5}
FLATTEN = {"type": "flatten"}

PLAIN: Layers = [CONV_32, CONV_64, DROP_MAP, FLATTEN, DENSE, DROP_VECTOR]
NORMALISED: Layers = [CONV_32, NORMALISE, CONV_64, NORMALISE, DROP_MAP, FLATTEN, DENSE, NORMALISE, DROP_VECTOR]
DEEPER: Layers = [CONV_32, CONV_64, CONV_32, DROP_MAP, FLATTEN, DENSE, DROP_VECTOR]

ADADELTA = {"name": "adadelta", "learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7}
ADAM = {"name": "adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}

SCALED_TWICE = 1 / 255**2
"""By hand, and by the generator that the images went through afterwards."""


def _notebook(layers: Layers, optimizer: dict[str, Any] = ADADELTA, rescale: float = 1 / 255) -> dict[str, Any]:
    """What the notebook's models have in common, around what they differ by."""
    return {
        "dataset": "mnist",
        "rescale": rescale,
        "model": {"layers": layers},
        "optimizer": optimizer,
        "loss": "categorical_crossentropy",
        "batch_size": 128,
        "epochs": 6,
        # The notebook watched the test set while it trained; its presets do as it did.
        "validation": {"on": "test"},
    }


BASELINE = Preset(
    name="baseline",
    summary="Two convolutions, dropout and a dense layer, trained with Adadelta: the notebook's first model.",
    spec=_notebook(PLAIN),
    published={"test_accuracy": 0.9903, "test_loss": 0.0277},
)
BATCH_NORM = Preset(
    name="batch-norm",
    summary="The baseline with batch normalisation behind both convolutions and the dense layer; the notebook printed "
    "the baseline's score in its place (0.9903), so what it came to was never shown.",
    spec=_notebook(NORMALISED),
    published=None,
)
IMAGE_NORM = Preset(
    name="image-norm",
    summary="The baseline on pixels that were divided by 255 twice, as the notebook did by mistake, trained with Adam.",
    spec=_notebook(PLAIN, ADAM, SCALED_TWICE),
    published={"test_accuracy": 0.954},
)
IMAGE_BATCH_NORM = Preset(
    name="image-batch-norm",
    summary="Batch normalisation on pixels that were divided by 255 twice, as the notebook did by mistake.",
    spec=_notebook(NORMALISED, rescale=SCALED_TWICE),
    published={"test_accuracy": 0.889},
)
EXTRA_CONV = Preset(
    name="extra-conv",
    summary="The baseline with a third convolution, of 32 filters, behind the other two.",
    spec=_notebook(DEEPER),
    published={"test_accuracy": 0.9911},
)


NORMALISED_RELU: Layers = [
    # The statistics follow faster than by default: a short training has few steps.
    {"type": "batch_normalization", "momentum": 0.9},
    {"type": "activation", "activation": "relu"},
]


def _convolution(
    filters: int, size: int = 3, strides: int = 1, *, pool: bool = False, padding: str = "valid"
) -> Layers:
    """A convolution, the largest of every 2×2 where it is pooled, batch normalisation, relu.

    Pooling comes first: that leaves a quarter of the work to the other two.
    """
    convolution = {
        "type": "conv2d",
        "filters": filters,
        "kernel_size": [size, size],
        "strides": [strides, strides],
        "padding": padding,
        # Normalisation takes a bias away again.
        "use_bias": False,
    }
    return [convolution, *([{"type": "max_pooling2d"}] if pool else []), *NORMALISED_RELU]


FAST = Preset(
    name="fast",
    summary="More than 99 % of the test digits after one epoch, in seconds on two cores: a small network and one cycle "
    "of the learning rate.",
    spec={
        "dataset": "mnist",
        "model": {
            "layers": [
                *_convolution(12, 5, pool=True),
                *_convolution(64, 5, strides=2),
                FLATTEN,
                {"type": "dense", "units": 192, "use_bias": False},
                *NORMALISED_RELU,
            ]
        },
        "optimizer": ADAM | {"learning_rate": 0.006},
        "schedule": {"name": "one_cycle", "warmup_fraction": 0.3, "start_fraction": 0.04, "final_fraction": 0.0},
        "loss": "categorical_crossentropy",
        "label_smoothing": 0.05,
        "batch_size": 128,
        "epochs": 1,
        # Nothing is chosen by it, and it takes time.
        "validation": {"on": "none"},
    },
    published=None,
)
BEST = Preset(
    name="best",
    summary="As many test digits as one network gets in an hour or so on two cores: six convolutions, digits that are "
    "bent, moved, turned and resized, half a cosine of the learning rate.",
    spec={
        "dataset": "mnist",
        "model": {
            "layers": [
                *_convolution(32),
                *_convolution(32, pool=True),
                {"type": "dropout", "rate": 0.1},
                *_convolution(64, padding="same"),
                *_convolution(64, padding="same", pool=True),
                {"type": "dropout", "rate": 0.2},
                *_convolution(128, padding="same"),
                *_convolution(128, pool=True),
                FLATTEN,
                {"type": "dropout", "rate": 0.4},
            ]
        },
        "optimizer": ADAM | {"learning_rate": 0.003},
        "schedule": {"name": "cosine", "warmup_epochs": 1.0, "final_fraction": 0.0},
        "loss": "categorical_crossentropy",
        "label_smoothing": 0.05,
        "batch_size": 128,
        "epochs": 45,
        "validation": {"on": "split", "fraction": 0.05},
        "augmentation": {"shift": 0.07, "rotation": 10, "zoom": 0.1, "elastic": {"alpha": 20.0, "sigma": 4.0}},
    },
    published=None,
)

PRESETS: dict[str, Preset] = {
    preset.name: preset for preset in (BASELINE, BATCH_NORM, IMAGE_NORM, IMAGE_BATCH_NORM, EXTRA_CONV, FAST, BEST)
}


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
