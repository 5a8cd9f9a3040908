"""The endpoint that many write first: FastAPI around an onnxruntime session, nothing else.

    MODEL=model.onnx uvicorn --app-dir benchmarks/peers plain:app --workers 2

Requests run side by side in Starlette's threads, each with the session to itself.
"""

import os
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
[given] = session.get_inputs()[:1]
app = FastAPI()


class Images(BaseModel):
    """Each 28 rows of 28 pixels, 0–255."""

    images: list[list[list[float]]]


class Answer(BaseModel):
    """A digit for each image, and the probability of each digit."""

    digits: list[int]
    probabilities: list[list[float]]


def classify(pixels: np.ndarray, batch: int) -> Answer:
    """Run the model on `(n, 28, 28, 1)` pixels, so many images at a time."""
    pieces = [session.run(None, {given.name: pixels[at : at + batch]})[0] for at in range(0, len(pixels), batch)]
    probabilities = np.concatenate(pieces)
    return Answer(digits=probabilities.argmax(axis=1).tolist(), probabilities=probabilities.tolist())


async def raw_body(request: Request) -> bytes:
    """The bytes as they came."""
    return await request.body()


@app.post("/predict")
def predict(body: Images) -> Answer:
    """Classify JSON pixels."""
    pixels = np.asarray(body.images, np.float32)[..., np.newaxis]
    return classify(pixels, len(pixels))


@app.post("/octets")
def octets(body: Annotated[bytes, Depends(raw_body)], batch: int) -> Answer:
    """Classify N × 784 bytes."""
    return classify(np.frombuffer(body, np.uint8).reshape(-1, 28, 28, 1).astype(np.float32), batch)
