"""Numeral: train handwritten-digit experiments over REST and serve what they learnt."""

import os
from importlib.metadata import version

__version__ = version("numeral")

# onnxruntime reports to its makers unless this is set before it is imported. Here, because every process of the service
# passes here first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
