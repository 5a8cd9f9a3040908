"""What serves predictions has no TensorFlow in it: shown on a process of its own."""

import subprocess
import sys

from service.settings import Settings

SCRIPT = """
import asyncio, json, sys
import httpx
from service.api.app import create_app
from service.settings import Settings
from service.worker.supervisor import Supervisor  # `numeral up` has one in the same process

app = create_app(Settings(database_url=sys.argv[1]))

async def predict():
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://numeral") as client:
        return await client.post("/v1/predict", json={"images": [[0] * 784]})

answer = asyncio.run(predict())
answer.raise_for_status()
heavy = {"tensorflow", "keras", "jax", "sklearn", "onnx", "torch"}
print(json.dumps(sorted(heavy & {name.partition(".")[0] for name in sys.modules})))
"""


def test_the_api_process_imports_no_training_framework(settings: Settings, trained: int) -> None:
    command = [sys.executable, "-c", SCRIPT, settings.resolved_database_url]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
