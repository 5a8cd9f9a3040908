"""How often a model reads pictures as people make them: `python benchmarks/handwriting.py --model model.onnx`.

Each picture goes through `service.inference.preprocess` as a request's picture would. What counts is the most probable
digit, whatever its confidence. With `--sheets DIR` a contact sheet per kind shows each picture beside its 28×28 pixels,
wrong ones first, in a red frame.
"""

import argparse
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import drawings
import numpy as np
import onnxruntime
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from service.inference.preprocess import Normalised, to_mnist

Digits = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Sample(NamedTuple):
    """A picture and what it shows; None where that is no digit."""

    picture: Image.Image
    digit: int | None


def main() -> None:
    """Print a line per kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="an experiment's model.onnx")
    parser.add_argument("--handwriting", type=Path, default=Path("../shared/handwriting/pixel32"), help="DIR/<digit>/*")
    parser.add_argument("--mnist", type=Path, default=Path("../shared/mnist.npz"))
    parser.add_argument("--each", type=int, default=100, help="generated pictures of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheets", type=Path, help="write contact sheets into this folder")
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    options = parser.parse_args()

    cv2.setNumThreads(1)
    model = Model(options.model)
    print(f"{'kind':60} {'pictures':>8} {'right':>7} {'blank':>7} {'ms each':>8}")
    for name, samples in kinds(options, model):
        if options.only in name:
            report(name, samples, model, options.sheets)


class Model:
    """Digits from `(n, 28, 28)` pixels."""

    def __init__(self, path: Path) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
        """The most probable digit of each."""
        batches = [pixels[start : start + 500] for start in range(0, len(pixels), 500)]
        feeds = ({self._input: batch[..., np.newaxis].astype(np.float32)} for batch in batches)
        return np.concatenate([self._session.run(None, feed)[0].argmax(axis=1) for feed in feeds])


def kinds(options: argparse.Namespace, model: Model) -> Iterator[tuple[str, Iterator[Sample]]]:
    """All kinds by name. Pictures are made as they are asked for."""

    def rng(name: str) -> Generator:
        return np.random.default_rng([options.seed, zlib.crc32(name.encode())])

    if options.handwriting.is_dir():
        for name, vary in drawings.VARIATIONS.items():
            yield f"folder: {name}", varied(options.handwriting, vary, rng(name))
    else:
        print(f"(no folder {options.handwriting}: its kinds are left out)")

    mnist: Digits | None = None
    if options.mnist.is_file():
        with np.load(options.mnist) as file:
            mnist = file["x_test"], file["y_test"]
        print(f"{'MNIST test set, untouched':60} {len(mnist[1]):8} {(model(mnist[0]) == mnist[1]).mean():7.2%}")
        yield "MNIST test set, as pictures", (Sample(Image.fromarray(x), int(y)) for x, y in zip(*mnist, strict=True))
    else:
        print(f"(no file {options.mnist}: kinds made from MNIST are left out)")

    for kind in drawings.KINDS:
        title = (kind.__doc__ or "").rstrip(".")
        name = f"written: {title}"
        yield name, written(kind, options.each, rng(name))
        if mnist and kind is not drawings.pen:
            name = f"MNIST: {title}"
            yield name, enlarged(kind, options.each, rng(name), mnist)
    yield "printed in system fonts", printed()
    yield "no digit: empty paper", empty(options.each, rng("empty"))


def varied(folder: Path, vary: drawings.Variation, rng: Generator) -> Iterator[Sample]:
    """The folder's pictures, each varied."""
    for path in sorted(folder.glob("*/*.*")):
        with Image.open(path) as picture:
            yield Sample(vary(picture, rng), int(path.parent.name))


def written(kind: drawings.Kind, count: int, rng: Generator) -> Iterator[Sample]:
    """Digits from templates."""
    for index in range(count):
        digit = index % 10
        yield Sample(kind(rng, lambda side, pen, digit=digit: drawings.written(rng, digit, side, pen)), digit)


def enlarged(kind: drawings.Kind, count: int, rng: Generator, mnist: Digits) -> Iterator[Sample]:
    """Digits of MNIST's test set."""
    images, labels = mnist
    for index in rng.integers(len(images), size=count):
        yield Sample(kind(rng, lambda side, _, index=index: drawings.enlarged(images[index], side)), int(labels[index]))


def printed() -> Iterator[Sample]:
    """Digits of those fonts that this machine has."""
    for font in drawings.FONTS:
        for digit in range(10):
            try:
                ink = drawings.printed(digit, font, 100)
            except OSError:
                print(f"(no font {font})")
                break
            yield Sample(Image.fromarray((255 * (1 - ink)).astype(np.uint8)), digit)


def empty(count: int, rng: Generator) -> Iterator[Sample]:
    """Paper with nothing on it."""
    for _ in range(count):
        yield Sample(drawings.blank(rng), None)


def report(name: str, samples: Iterator[Sample], model: Model, sheets: Path | None) -> None:
    """Print how many are read rightly, and draw the sheet."""
    truth: list[int | None] = []
    found: list[Normalised] = []
    thumbnails: list[Image.Image] = []
    seconds = 0.0
    for picture, digit in samples:
        started = time.perf_counter()
        found.append(to_mnist(picture))
        seconds += time.perf_counter() - started
        truth.append(digit)
        if sheets and len(thumbnails) < SHEET:
            thumbnails.append(thumbnail(picture, found[-1].pixels))
    said = model(np.stack([one.pixels for one in found]))
    blank = np.array([one.box is None for one in found])
    right = blank if truth[0] is None else (said == np.array(truth)) & ~blank
    print(
        f"{name[:60]:60} {len(truth):8} {right.mean():7.2%} {blank.sum():7} {1000 * seconds / len(truth):8.2f}",
        flush=True,
    )
    if sheets:
        sheet(thumbnails, right).save(sheets / f"{name.replace('/', ' ')[:60]}.png")


SHEET = 120
COLUMNS = 10
EDGE = 84


def thumbnail(picture: Image.Image, pixels: NDArray[np.uint8]) -> Image.Image:
    """The picture, small, beside its 28×28 pixels, enlarged."""
    pair = Image.new("RGB", (2 * EDGE, EDGE), "grey")
    layer = picture.convert("RGBA")
    small = Image.alpha_composite(Image.new("RGBA", layer.size, "grey"), layer)
    small.thumbnail((EDGE, EDGE), Image.Resampling.BOX)
    pair.paste(small, (0, 0))
    pair.paste(Image.fromarray(pixels).resize((EDGE, EDGE), Image.Resampling.NEAREST), (EDGE, 0))
    return pair


def sheet(thumbnails: list[Image.Image], right: NDArray[np.bool_]) -> Image.Image:
    """Wrong ones first, in red."""
    cell = (2 * EDGE + 6, EDGE + 6)
    whole = Image.new("RGB", (COLUMNS * cell[0], -(-len(thumbnails) // COLUMNS) * cell[1]), "white")
    for place, index in enumerate(sorted(range(len(thumbnails)), key=lambda index: right[index])):
        at = (place % COLUMNS * cell[0], place // COLUMNS * cell[1])
        if not right[index]:
            whole.paste("red", (*at, at[0] + cell[0], at[1] + cell[1]))
        whole.paste(thumbnails[index], (at[0] + 3, at[1] + 3))
    return whole


if __name__ == "__main__":
    main()
