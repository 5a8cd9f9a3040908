"""`numeral model` and `numeral predict` against a real server, with models made without training."""

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from service.card import ServingCard, Variant
from service.store import artifacts
from service.store.database import reading, writing
from tests.api.conftest import Run, refused, said

# What the server then does is shown on both databases elsewhere.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder that commands run in."""
    return tmp_path / "here"


@pytest.fixture
def second(make_model: Callable[[str], int], trained: int, database: Engine) -> int:
    """A model that no alias means; it has an int8 file, too, which is in fact the same."""
    model_id = make_model("second [bold]")
    card = ServingCard(test_accuracy={Variant.FP32: 1.0, Variant.INT8: 0.9625})
    with writing(database) as session:
        onnx = artifacts.get(session, model_id, "model.onnx").content
        artifacts.put(session, model_id, "model.int8.onnx", onnx)
        artifacts.put(session, model_id, "serving.json", card.model_dump_json().encode())
    return model_id


# Models


def test_models_are_listed_and_shown(run: Run, trained: int, second: int) -> None:
    rows = said(run("model", "list")).splitlines()
    assert re.search(rf"^{second} +second \[bold\] +mnist +1.0000 +7,850 +yes", rows[1])
    assert re.search(rf"^{trained} +bands .* production ", rows[2])
    assert [item["id"] for item in json.loads(said(run("model", "list", "--json")))] == [second, trained]
    shown = said(run("model", "show", second))
    assert re.search(r"int8 +model.int8.onnx +0.9625", shown)
    assert "production" not in shown
    assert re.search(rf"production +{trained} +fp32 +1×", said(run("model", "show", "production")))
    assert json.loads(said(run("model", "show", "production", "--json")))["id"] == trained


def test_without_models_it_is_said_how_to_get_one(run: Run) -> None:
    assert "numeral experiment submit" in said(run("model", "list"))
    assert "`production`" in said(run("model", "aliases"))
    refused(run("model", "show", "production"), "submit an experiment")


def test_an_alias_is_promoted_and_rolled_back(run: Run, trained: int, second: int) -> None:
    promoted = run("model", "promote", second, "--variant", "int8", "--minimum-accuracy", "0.96")
    assert said(promoted) == f"production means model {second} (int8).\n"
    shadow = run("model", "promote", "production", "--alias", "staging", "--shadows", "production")
    assert said(shadow) == f"staging means model {second} (int8) and shadows production.\n"
    assert re.search(r"staging +.* production +0 of 0", said(run("model", "aliases")))
    assert said(run("model", "rollback")) == f"production means model {trained} (fp32).\n"
    assert json.loads(said(run("model", "rollback", "--json")))["number"] == 4
    rows = said(run("model", "history")).splitlines()
    assert re.search(rf"^4 +{second} +int8 +rollback", rows[1])
    assert re.search(rf"^1 +{trained} +fp32 +first", rows[4])
    assert [item["action"] for item in json.loads(said(run("model", "history", "--alias", "staging", "--json")))] == [
        "promote"
    ]
    assert said(run("model", "delete-alias", "staging")) == "staging means nothing any more.\n"
    assert [item["alias"] for item in json.loads(said(run("model", "aliases", "--json")))] == ["production"]


def test_what_is_refused_is_one_line(run: Run, trained: int, second: int) -> None:
    refused(run("model", "promote", second, "--variant", "int8", "--minimum-accuracy", "0.97"), "0.9625")
    refused(run("model", "promote", second, "--not-worse"), "cannot be compared")
    refused(run("model", "promote", trained, "--variant", "int8"), "no model in int8")
    refused(run("model", "promote", "none"), "no model 'none'")
    refused(run("model", "promote", second, "--alias", "Ab"), "is not an alias")
    refused(run("model", "rollback"), "nothing to go back to")
    refused(run("model", "history", "--alias", "none"), "no alias 'none'")
    refused(run("model", "delete-alias", "none"), "no alias 'none'")


# Exporting


def file(database: Engine, model_id: int, name: str) -> bytes:
    with reading(database) as session:
        return artifacts.get(session, model_id, name).content


def test_a_model_is_exported(run: Run, here: Path, database: Engine, trained: int, second: int) -> None:
    assert f"model-{trained}.onnx" in said(run("model", "export", "production"))
    assert (here / f"model-{trained}.onnx").read_bytes() == file(database, trained, "model.onnx")
    (here / "folder").mkdir()
    report = json.loads(said(run("model", "export", second, "--variant", "int8", "--output", "folder", "--json")))
    assert report["file"] == f"folder/model-{second}.int8.onnx"
    assert (here / report["file"]).stat().st_size == report["size"]
    said(run("model", "export", "production", "--output", "mine.keras"))
    assert (here / "mine.keras").read_bytes() == b"keras"
    assert not list(here.rglob("*.part"))


def test_nothing_is_overwritten_without_being_asked_for(run: Run, here: Path, database: Engine, trained: int) -> None:
    (here / "taken.onnx").write_text("mine")
    refused(run("model", "export", trained, "--output", "taken.onnx"), "--force overwrites it")
    assert (here / "taken.onnx").read_text() == "mine"
    said(run("model", "export", trained, "--output", "taken.onnx", "--force"))
    written = hashlib.sha256((here / "taken.onnx").read_bytes()).hexdigest()
    assert written == hashlib.sha256(file(database, trained, "model.onnx")).hexdigest()


def test_what_cannot_be_exported_is_one_line(run: Run, here: Path, trained: int) -> None:
    refused(run("model", "export", trained, "--variant", "int8"), "has no model.int8.onnx")
    refused(run("model", "export", trained, "--variant", "int8", "--output", "a.keras"), "no int8 model for Keras")
    refused(run("model", "export", trained, "--output", "not/there/a.onnx"), "cannot be written")
    assert list(here.iterdir()) == []


# Predicting


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(here: Path, run: Run, bands: list[np.ndarray]) -> Path:
    """Ten pictures, one that is none, and what lies about besides."""
    folder = here / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for digit, image in enumerate(bands):
        (folder / f"{digit}.png").write_bytes(png(image))
    (folder / "5b.PNG").write_text("this is no picture")
    (folder / "notes.txt").write_text("nor is this")
    (folder / "deeper" / "9.png").write_bytes(png(bands[9]))
    return folder


RAW = ("--preprocess", "none", "--threshold", "0")


@pytest.mark.usefixtures("trained")
def test_a_folder_is_a_table_and_what_is_refused_does_not_lose_the_others(run: Run, folder: Path) -> None:
    done = run("predict", "pictures", *RAW)
    assert (done.status, done.error) == (1, "")
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0] == ["file", "digit", "confidence", "reason"]
    names = [f"pictures/{name}" for name in (*"012345", "5b.PNG", *"6789")]
    names = [name if name.endswith("PNG") else f"{name}.png" for name in names]
    assert [row[0] for row in rows[1:]] == names
    assert [row[1] for row in rows[1:]] == [*"012345", "–", *"6789"]
    assert "not a picture" in done.out
    assert all(row[2].endswith("%") for row in rows[1:] if row[1] != "–")


def test_json_has_every_file(run: Run, folder: Path, trained: int) -> None:
    done = run("predict", "pictures", *RAW, "--json")
    assert done.status == 1
    answer = json.loads(done.out)
    assert (answer["model"]["id"], answer["model"]["alias"]) == (trained, "production")
    broken = [item for item in answer["predictions"] if "problem" in item]
    assert [item["file"] for item in broken] == ["pictures/5b.PNG"]
    read = [item for item in answer["predictions"] if "problem" not in item]
    assert [(item["digit"], item["model_id"], item["reason"]) for item in read] == [
        (digit, trained, None) for digit in range(10)
    ]
    assert "explanation" not in read[0]


@pytest.mark.usefixtures("trained")
def test_a_picture_can_come_through_a_pipe(run: Run, bands: list[np.ndarray]) -> None:
    [_, row] = said(run("predict", "-", *RAW, stdin=png(bands[3]))).splitlines()
    assert row.split()[:2] == ["-", "3"]
    refused(run("predict", "-", stdin=b""), "")


@pytest.mark.usefixtures("trained")
def test_what_is_not_taken_for_a_digit_says_why(run: Run, here: Path) -> None:
    (here / "blank.png").write_bytes(png(np.full((40, 40), 255, np.uint8)))
    [_, row] = said(run("predict", "blank.png")).splitlines()
    assert row.split()[1] == "–"
    assert row.split()[-1] == "blank"
    answer = json.loads(said(run("predict", "blank.png", "--json")))["predictions"][0]
    assert answer["digit"] is None


@pytest.mark.usefixtures("trained")
def test_what_the_model_saw_is_shown(run: Run, here: Path) -> None:
    image = np.full((90, 70), 255, np.uint8)
    image[20:70, 30:36] = 0
    (here / "one.png").write_bytes(png(image))
    shown = said(run("predict", "one.png", "--explain"))
    assert "██" in shown
    assert re.search(r"^preprocess mnist, .*\d: [\d.]+%", shown, re.MULTILINE)
    explained = json.loads(said(run("predict", "one.png", "--explain", "--json")))["predictions"][0]["explanation"]
    assert np.shape(explained["pixels"]) == (28, 28)


@pytest.mark.usefixtures("trained")
def test_many_pictures_go_in_pieces(run: Run, here: Path, bands: list[np.ndarray], api: httpx.Client) -> None:
    for index in range(230):
        (here / f"{index:03}.png").write_bytes(png(bands[index % 10]))
    answer = json.loads(said(run("predict", ".", *RAW, "--json")))
    assert [item["digit"] for item in answer["predictions"]] == [index % 10 for index in range(230)]
    counted = re.search(r'route="/v1/predict",status="200"} (\d+)', api.get("/metrics").text)
    assert counted
    assert int(counted[1]) == 3


@pytest.mark.usefixtures("trained")
def test_a_mistake_is_one_line(run: Run, here: Path) -> None:
    (here / "empty").mkdir()
    (here / "text.png").write_text("this is no picture")
    refused(run("predict", "nowhere.png"), "cannot be read")
    refused(run("predict", "empty"), "no picture in empty")
    refused(run("predict", "text.png"), "not a picture")
    (here / "blank.png").write_bytes(png(np.zeros((28, 28), np.uint8)))
    refused(run("predict", "blank.png", "--model", "none"), "no model 'none'")
    refused(run("predict", "text.png", "--server", "http://127.0.0.1:9"), "No answer from")
