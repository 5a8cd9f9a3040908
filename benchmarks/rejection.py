"""What a model answers and what it refuses: MNIST's test digits, drawings, letters by font, photographs, noise.

    python -m benchmarks.rejection model.onnx serving.json mnist.npz [--fonts /usr/share/fonts] [--drawings DIR]

Nothing here is made by the code that training learns to refuse from: letters come from the fonts of the system,
photographs from scikit-learn, textures and noise are written down here. Pictures go through the preprocessing of served
pictures.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.card import ServingCard
from service.inference.calibration import calibrated
from service.inference.preprocess import to_mnist

LETTERS = "ACEFHKMNPRTVWXY"
DIGITS = "0123456789"
FONTS_OF_A_FOLDER = 14
POINTS, CANVAS = 72, 128
PICTURES = 400
BINS = 15

Images = NDArray[np.uint8]


class Answers(NamedTuple):
    """Of n images: confidence `(n,)`, most likely digit `(n,)`, raw probabilities `(n, 10)`, blank or not `(n,)`."""

    confidence: NDArray[np.float32]
    digit: NDArray[np.int64]
    raw: NDArray[np.float32]
    blank: NDArray[np.bool_]


class Judge:
    """A model with its card."""

    def __init__(self, model: Path, card: Path) -> None:
        self.session = onnxruntime.InferenceSession(model)
        self.card = ServingCard.model_validate_json(card.read_bytes())

    def answers(self, images: Images) -> Answers:
        """What the model says about `(n, 28, 28)` images."""
        pixels = images[..., np.newaxis].astype(np.float32)
        parts = [
            self.session.run(None, {"pixels": pixels[start : start + 256]}) for start in range(0, len(pixels), 256)
        ]
        raw, is_digit = (np.concatenate(part) for part in zip(*parts, strict=True))
        sure = calibrated(raw, is_digit[:, 0], self.card.temperature)
        blank = images.reshape(len(images), -1).min(axis=1) == images.reshape(len(images), -1).max(axis=1)
        return Answers(sure.max(axis=1), raw.argmax(axis=1), raw, blank)

    def refused(self, answers: Answers, threshold: float | None = None) -> float:
        """The part that is blank or under the threshold, the card's unless one is given."""
        limit = self.card.threshold if threshold is None else threshold
        return float((answers.blank | (answers.confidence < limit)).mean())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("card", type=Path)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts"))
    parser.add_argument("--drawings", type=Path, help="a folder with a folder of pictures for each digit")
    given = parser.parse_args()
    judge = Judge(given.model, given.card)
    print(f"temperature {judge.card.temperature:.3f} · threshold {judge.card.threshold} · floor {judge.card.floor:.4f}")

    with np.load(given.mnist) as mnist:
        digits(judge, "MNIST's test set", mnist["x_test"], mnist["y_test"])
        calibration(judge, mnist["x_test"], mnist["y_test"])
    if given.drawings:
        paths = sorted(given.drawings.glob("*/*.png"))
        seen = np.stack([to_mnist(Image.open(path)).pixels for path in paths])
        digits(judge, "drawings", seen, np.array([int(path.parent.name) for path in paths]))
    found = fonts(given.fonts)
    if found:
        seen = np.stack([rendered(font, digit) for font in found for digit in DIGITS])
        digits(judge, f"digits of {len(found)} fonts", seen, np.tile(np.arange(10), len(found)))

    rng = np.random.default_rng(20261123)
    for name, images in {**noise(rng), **pictures(rng)}.items():
        answers = judge.answers(images)
        floor = f"   under the floor {judge.refused(answers, judge.card.floor):7.2%}" if "arrays" in name else ""
        print(f"{name:28} refused {judge.refused(answers):7.2%}   of which blank {answers.blank.mean():7.2%}{floor}")
    if found:
        letters(judge, found)


def digits(judge: Judge, name: str, images: Images, labels: NDArray[np.integer]) -> None:
    """How many are answered, and how many of these are right."""
    answers = judge.answers(images)
    answered = ~answers.blank & (answers.confidence >= judge.card.threshold)
    right = answers.digit == labels
    print(
        f"{name:28} answered {answered.mean():7.2%}   right of these {right[answered].mean():7.2%}"
        f"   right of all {right.mean():7.2%}   least confidence {answers.confidence.min():.4f}"
    )


def calibration(judge: Judge, images: Images, labels: NDArray[np.integer]) -> None:
    """The expected calibration error (Guo et al. 2017, equation 3), raw and calibrated."""
    answers = judge.answers(images)
    right = answers.digit == labels
    before, after = (expected_error(sure, right) for sure in (answers.raw.max(axis=1), answers.confidence))
    print(f"{'calibration error (ECE)':28} raw {before:.4f}   calibrated {after:.4f}   ({BINS} bins)")


def expected_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Mean distance of confidence and accuracy over equally wide bins, weighted by how many images are in each."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return sum(abs(float((confidence - right)[bins == place].sum())) for place in range(BINS)) / len(right)


def letters(judge: Judge, found: list[Path]) -> None:
    """Letters that look like no digit: all, by letter, by the fonts' folder."""
    refused: dict[str, list[float]] = defaultdict(list)
    for font in found:
        answers = judge.answers(np.stack([rendered(font, letter) for letter in LETTERS]))
        low = answers.blank | (answers.confidence < judge.card.threshold)
        refused["all"] += low.tolist()
        refused[f"  {font.parent.name}"] += low.tolist()
        for letter, is_low in zip(LETTERS, low.tolist(), strict=True):
            refused[f"  {letter}"].append(is_low)
    for name, values in sorted(refused.items(), key=lambda item: (item[0] != "all", len(item[0]) > 3, item[0])):
        print(f"letters {name:30} refused {np.mean(values):7.2%} of {len(values)}")


def fonts(folder: Path) -> list[Path]:
    """Fonts that have the letters and digits, each its own; of large families, some."""
    of_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted([*folder.rglob("*.ttf"), *folder.rglob("*.otf")]):
        try:
            font = ImageFont.truetype(path, POINTS)
            glyphs = {bytes(font.getmask(letter)) for letter in LETTERS + DIGITS}
        except (OSError, ValueError):
            continue
        if len(glyphs) == len(LETTERS + DIGITS):
            of_folder[path.parent].append(path)
    return [path for paths in of_folder.values() for path in paths[:: max(1, len(paths) // FONTS_OF_A_FOLDER)]]


def rendered(font: Path, letter: str) -> Images:
    """A black letter on white paper, as the model gets it."""
    picture = Image.new("L", (CANVAS, CANVAS), 255)
    place = (CANVAS / 2, CANVAS / 2)
    ImageDraw.Draw(picture).text(place, letter, font=ImageFont.truetype(font, POINTS), fill=0, anchor="mm")
    return to_mnist(picture).pixels


def noise(rng: np.random.Generator) -> dict[str, Images]:
    """Noise as arrays that are taken as they are, and as pictures."""
    sides = rng.integers(28, 300, PICTURES // 2)
    spreads = np.linspace(5, 80, PICTURES)
    return {
        "uniform noise, arrays": rng.integers(0, 256, (PICTURES, 28, 28)).astype(np.uint8),
        "gaussian noise, arrays": np.stack([grey(rng.normal(128, spread, (28, 28))) for spread in spreads]),
        "uniform noise, pictures": seen(rng.integers(0, 256, (side, side)).astype(np.uint8) for side in sides),
        "gaussian noise, pictures": seen(grey(rng.normal(128, rng.uniform(5, 60), (side, side))) for side in sides),
        "coloured noise, pictures": seen(rng.integers(0, 256, (side, side, 3)).astype(np.uint8) for side in sides),
    }


def pictures(rng: np.random.Generator) -> dict[str, Images]:
    """Parts of photographs, and textures."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images

    def part() -> Images:
        photograph = photographs[int(rng.integers(len(photographs)))]
        side = int(rng.integers(60, 420))
        top, left = (int(rng.integers(0, extent - side)) for extent in photograph.shape[:2])
        return np.asarray(photograph[top : top + side, left : left + side])

    kinds = (clouds, checks, stripes, wood, bricks, gradient)
    return {
        "parts of photographs": seen(part() for _ in range(PICTURES)),
        "textures": seen(toned(kinds[index % 6](int(rng.integers(100, 320)), rng), rng) for index in range(PICTURES)),
    }


def clouds(side: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Noise of several scales."""
    return np.sum([enlarged(rng.random((2**o + 1, 2**o + 1)), side) / 2**o for o in range(1, 7)], axis=0)


def checks(side: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """A chessboard with fields of any size."""
    rows, columns = np.mgrid[:side, :side]
    return (rows // rng.integers(8, 40) + columns // rng.integers(8, 40)) % 2 + rng.normal(0, 0.05, (side, side))


def stripes(side: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Slanted stripes."""
    rows, columns = np.mgrid[:side, :side]
    return (rows * rng.uniform(0.2, 1) + columns) // rng.integers(6, 30) % 2 + rng.normal(0, 0.05, (side, side))


def wood(side: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Lines that wander."""
    columns = np.mgrid[:side, :side][1]
    return np.sin(0.08 * columns + 4 * enlarged(rng.random((5, 3)), side)) + rng.normal(0, 0.1, (side, side))


def bricks(side: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """A wall with dark joints."""
    rows, columns = np.mgrid[:side, :side]
    height = int(rng.integers(15, 40))
    joints = (rows % height < 2) | ((columns + rows // height % 2 * height) % (2 * height) < 2)
    return 1 - joints + rng.normal(0, 0.1, (side, side))


def gradient(side: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Grainy paper with light from one side."""
    rows, columns = np.mgrid[:side, :side] / side
    return rows * rng.uniform(-1, 1) + columns * rng.uniform(-1, 1) + rng.normal(0, 0.03, (side, side))


def enlarged(values: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Few values spread smoothly over a square."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))


def toned(plane: NDArray[np.floating], rng: np.random.Generator) -> Images:
    """Two greys and what is between them."""
    low, high = np.sort(rng.uniform(0, 255, 2))
    return grey(low + (high - low) * (plane - plane.min()) / np.ptp(plane))


def grey(values: NDArray[np.floating]) -> Images:
    """Cut to 0–255."""
    return np.asarray(values.clip(0, 255), np.uint8)


def seen(pictures: Iterator[Images]) -> Images:
    """Pictures as the model gets them."""
    return np.stack([to_mnist(Image.fromarray(picture)).pixels for picture in pictures])


if __name__ == "__main__":
    main()
