"""What every route that classifies does, whatever its protocol."""

from collections.abc import Callable
from typing import NamedTuple

from fastapi import Request, Response

from service.api.bodies import Bodies, while_connected
from service.api.predictions import INLINE_BYTES, INLINE_IMAGES
from service.api.telemetry import Telemetry
from service.inference.batcher import Answer
from service.inference.lanes import Pixels
from service.inference.serving import Serving


class Question(NamedTuple):
    """Images, and how what a model says about them is written."""

    pixels: Pixels
    write: Callable[[Answer], Response]


async def classified(request: Request, reference: str, read: Callable[[bytes], Question]) -> Response:
    """Read a request's body, classify with the model that an alias or an id means, and write the answer.

    Raises:
        Overloaded, UnknownModel, ModelRefused: as the batcher does; and what `read` raises.
    """
    serving: Serving = request.app.state.serving
    telemetry: Telemetry = request.app.state.telemetry
    serving.check_room()
    bodies: Bodies = request.app.state.bodies
    body = await bodies.read(request.scope, request.receive)
    try:
        # Once more: others have come while it was read.
        serving.check_room()
        question = read(body) if len(body) <= INLINE_BYTES else await serving.aside(lambda: read(body))
        count = len(question.pixels)
        few = count <= INLINE_IMAGES
        work = serving.classify(reference, question.pixels)
        answer = await (work if few else while_connected(request.receive, work))
    finally:
        bodies.release(body)
    telemetry.classified(answer.target.resolved.id, count)
    return question.write(answer) if few else await serving.aside(lambda: question.write(answer))
