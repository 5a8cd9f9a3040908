"""What pages are tested with and shown with: experiments as they look after some weeks of use."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from playwright.sync_api import Page
from sqlalchemy import Engine

from service import schemas
from service.specs.experiment import ExperimentSpec
from service.store import queue, results
from service.store.database import writing

ATTACK = "<img src=x onerror=\"document.title='owned'\">'\"</script><script>document.title='owned'</script>"
"""What would run wherever it is taken for markup."""


def fill(database: Engine, count: int, *, epochs: int = 6) -> None:
    """So many experiments: most have succeeded, some have failed, wait or are trained."""
    chance = random.Random(0)
    for number in range(count):
        given: dict[str, Any] = {
            "preset": chance.choice(["baseline", "fast", "extra-conv"]),
            "name": f"experiment {number}",
            "tags": [chance.choice(["night", "ablation", "paper"])],
            "epochs": epochs,
            "batch_size": chance.choice([32, 64, 128]),
            "seed": number,
        }
        with writing(database) as session:
            queue.enqueue(session, ExperimentSpec.model_validate(given))
            if number >= count - 3:
                continue
            lease = queue.claim(session, f"box-{number % 4}:1", 3600)
            assert lease is not None
            results.start(session, lease, f"gpu:{number % 4} NVIDIA H100", 1_199_882)
            for epoch in range(1, epochs + 1):
                results.epoch(session, lease, _measured(epoch, chance))
            if number % 20 == 7:
                results.fail(session, lease, "diverged", "The loss became NaN.", b"")
            elif number < count - 5:
                accuracy = chance.uniform(0.97, 0.995)
                result = schemas.Result(
                    test_loss=0.03,
                    test_accuracy=accuracy,
                    parameters=1_199_882,
                    train_seconds=61.0,
                    images_per_second=5900.0,
                )
                results.succeed(session, lease, result, _report(accuracy), {}, b"")


def _measured(epoch: int, chance: random.Random) -> schemas.EpochMetrics:
    loss = 0.5 / epoch * chance.uniform(0.8, 1.2)
    return schemas.EpochMetrics(
        epoch=epoch,
        train_loss=loss,
        train_accuracy=1 - loss / 4,
        val_loss=loss * 1.1,
        val_accuracy=1 - loss / 3.5,
        seconds=10.0,
        learning_rate=0.001,
    )


def _report(accuracy: float) -> schemas.Evaluation:
    return schemas.Evaluation(
        loss=0.03,
        accuracy=accuracy,
        labels=list(range(10)),
        confusion_matrix=np.diag(np.full(10, 1000)).tolist(),
        per_class=[schemas.ClassReport(label=label, precision=1, recall=1, f1=1, support=1000) for label in range(10)],
        expected_calibration_error=0.004,
    )


SEVEN = ((0.28, 0.24), (0.72, 0.24), (0.6, 0.5), (0.46, 0.82))
"""A 7 on the canvas, as shares of its width and height."""


def draw_seven(page: Page) -> None:
    """Draw it, once the page's scripts have begun: they make the models' cards."""
    page.locator(".verdict").first.wait_for()
    draw(page, SEVEN)


def draw(page: Page, points: Sequence[tuple[float, float]]) -> None:
    """A stroke with the mouse; points are shares of the canvas's side."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()
