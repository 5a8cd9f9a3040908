"""What the command line makes of answers."""

import io
from typing import Any

from rich.console import Console

from service import schemas
from service.cli import render
from service.cli.comparison import differences


def shown(what: Any, width: int = 100) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(what)
    return output.getvalue()


def prediction(**given: Any) -> schemas.Prediction:
    probabilities = [0.02] * 9 + [0.82]
    return schemas.Prediction.model_validate(
        {"digit": 9, "confidence": 0.82, "probabilities": probabilities, **given},
    )


def test_an_explanation_is_a_picture_and_where_it_came_from() -> None:
    pixels = [[0.0] * 28 for _ in range(28)]
    pixels[3][2:4] = [255.0, 130.4]
    seen = {
        "pixels": pixels,
        "preprocess": "mnist",
        "preprocess_version": 3,
        "box": {"left": 5, "top": 7, "width": 12, "height": 30},
        "polarity": "dark_on_light",
    }
    picture, told = render.explanation(prediction(explanation=seen)).splitlines()
    assert picture == "    ██▒▒"
    assert told.startswith("preprocess mnist, box 12×30 at (5, 7), dark on light, 9: 82.0%, ")
    assert render.explanation(prediction()) == ""
    bare = render.explanation(prediction(explanation=seen | {"box": None, "polarity": None, "preprocess": "none"}))
    assert bare.splitlines()[-1].startswith("preprocess none, 9: ")


def test_a_path_is_cut_nowhere_however_narrow_the_terminal_is() -> None:
    name = "a/very/long/way/" * 8 + "[bold]digit.png"
    uncertain = prediction(digit=None, reason="uncertain")
    rows = [(name, prediction()), ("b.png", uncertain), ("c.png", "It is [no] picture.")]
    table = shown(render.predictions(rows), width=60)
    first = [line.split()[0] for line in table.splitlines()[1:] if not line.startswith(("b.png", "c.png"))]
    assert "".join(first).startswith(name)
    assert "…" not in table
    assert ["b.png", "–", "82.0%", "uncertain"] in [line.split() for line in table.splitlines()]


def test_differences_name_fields_as_problem_documents_do() -> None:
    # What only one has comes after what it follows there.
    one = {"name": "a", "model": {"layers": [{"units": 3}]}, "tags": [], "seed": 1, "stop": None}
    other = {"name": "b", "model": {"layers": [{"units": 3}, {"units": 4}]}, "tags": ["x"], "seed": 1, "stop": {"p": 2}}
    assert list(differences([one, other]).items()) == [
        ("model.layers[1].units", [None, 4]),
        ("tags", [[], ["x"]]),
        ("stop.p", [None, 2]),
    ]
    assert differences([one, one | {"name": "c"}]) == {}
