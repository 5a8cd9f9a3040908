"""What experiments answered to the images of their test sets: the mistakes, and the comparison of two."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from service import schemas
from service.answers import ARTIFACT, Answers, unpack
from service.errors import Conflict, NotFound, NotReached, UnknownArtifact
from service.states import State
from service.store import artifacts, experiments

SIGNIFICANCE = 0.05
"""A difference with a p-value below it is not taken for chance."""


@dataclass(frozen=True)
class Mistake:
    """A misclassified test image: its place in the test set, what it is, and what it was taken for."""

    index: int
    actual: int
    predicted: int
    confidence: float


def get(session: Session, experiment_id: int) -> Answers:
    """All answers of an experiment's model.

    Raises:
        UnknownExperiment: no experiment has this id.
        NotReached: it has not been evaluated, or was before answers were kept.
    """
    experiment = experiments.get(session, experiment_id)
    try:
        return unpack(artifacts.get(session, experiment_id, ARTIFACT).content)
    except UnknownArtifact:
        if experiment.state == State.SUCCEEDED:
            why = f"Experiment {experiment_id} has no {ARTIFACT}: it was trained before its answers were kept."
        else:
            why = f"Experiment {experiment_id} is {experiment.state} and has not been evaluated."
        raise NotReached(why) from None


def misclassified(
    session: Session,
    experiment_id: int,
    *,
    actual: int | None = None,
    predicted: int | None = None,
    offset: int = 0,
    limit: int = 50,
) -> list[Mistake]:
    """At most `limit` mistakes, most confident first, after the first `offset` of them; those of one digit, or with
    one, if it is given.

    Raises:
        UnknownExperiment, NotReached: as `get` does.
    """
    answers = get(session, experiment_id)
    taken_for, confidence = answers.predicted[answers.wrong_index], answers.confidence[answers.wrong_index]
    wanted = np.ones(len(answers.wrong_index), np.bool_)
    if actual is not None:
        wanted &= answers.wrong_actual == actual
    if predicted is not None:
        wanted &= taken_for == predicted
    places = np.flatnonzero(wanted)
    # Stable: of equally confident ones, the first in the test set comes first.
    order = places[np.argsort(-confidence[places], kind="stable")]
    return [
        Mistake(
            int(answers.wrong_index[place]),
            int(answers.wrong_actual[place]),
            int(taken_for[place]),
            float(confidence[place]),
        )
        for place in order[offset : offset + limit]
    ]


def image(session: Session, experiment_id: int, index: int) -> NDArray[np.uint8]:
    """The `(28, 28)` pixels of a misclassified test image.

    Raises:
        UnknownExperiment, NotReached: as `get` does.
        NotFound: this image was not misclassified, or there is none of this index.
    """
    answers = get(session, experiment_id)
    places = np.flatnonzero(answers.wrong_index == index)
    if len(places) == 0:
        raise NotFound(f"Experiment {experiment_id} has misclassified no test image {index}.")
    found: NDArray[np.uint8] = answers.wrong_images[places[0]]
    return found


def compare(session: Session, first: int, second: int) -> schemas.Comparison:
    """Two experiments on the same test images.

    Raises:
        UnknownExperiment: no experiment has one of the ids.
        Conflict: they were tested on different test sets, or the answers of one are not there.
    """
    try:
        ours, theirs = get(session, first), get(session, second)
    except NotReached as error:
        raise Conflict(f"Experiments {first} and {second} cannot be compared: {error}") from None
    if len(ours) != len(theirs):
        sizes = f"one of {len(ours):,} images, one of {len(theirs):,}"
        raise Conflict(f"Experiments {first} and {second} were tested on different test sets: {sizes}.")
    if ours.test_sha256 != theirs.test_sha256:
        raise Conflict(f"Experiments {first} and {second} were tested on different test sets, of as many images each.")
    only_first, only_second = int((ours.right & ~theirs.right).sum()), int((~ours.right & theirs.right).sum())
    p_value = mcnemar(only_first, only_second)
    better = None if p_value >= SIGNIFICANCE else first if only_first > only_second else second
    return schemas.Comparison(
        first=first,
        second=second,
        test_images=len(ours),
        both_right=int((ours.right & theirs.right).sum()),
        only_first_right=only_first,
        only_second_right=only_second,
        both_wrong=int((~ours.right & ~theirs.right).sum()),
        accuracy_difference=(only_second - only_first) / len(ours),
        p_value=p_value,
        better=better,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test ("Note on the sampling error of the difference between correlated
    proportions or percentages", 1947): how likely a fair coin, thrown once for each image that only one of two models
    got right, falls at least as unevenly. Counted in integers, so that no sum is rounded."""
    thrown = only_first + only_second
    ways, with_so_many_heads = 0, 1
    for heads in range(min(only_first, only_second) + 1):
        ways += with_so_many_heads
        with_so_many_heads = with_so_many_heads * (thrown - heads) // (heads + 1)
    p_value: float = 2 * ways / (1 << thrown)
    # Where both are as many, the two tails overlap.
    return min(1.0, p_value)
