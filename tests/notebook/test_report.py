"""`numeral notebook report`: what a database has of the notebook, and what is missing."""

import re
from pathlib import Path

import httpx
import pytest

from service.client import Client
from service.store.leases import Lease
from tests.api.conftest import Run, refused, said
from tests.notebook.conftest import QUICK, Work

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

ALL = (*QUICK, "--seeds", "3")


def written(run: Run, folder: Path, *options: str) -> tuple[str, str]:
    """The report in Markdown and in HTML."""
    told = said(run("notebook", "report", "--output", folder, *options))
    assert told == f"Written: {folder / 'notebook.md'}, {folder / 'notebook.html'}\n"
    return (folder / "notebook.md").read_text(), (folder / "notebook.html").read_text()


def row(text: str, first: str) -> list[str]:
    """The cells of the first table row of the Markdown that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_all_figures_stand_beside_the_notebooks(run: Run, work: Work, tmp_path: Path) -> None:
    with work():
        said(run("notebook", "run", *ALL, "--json"))
    text, page = written(run, tmp_path / "not" / "there", *QUICK)
    assert "53 of 53 runs have succeeded" in text
    assert "; trained on cpu:0, 11 minutes of training added up." in text
    assert "A quick look only (train limit 100, epochs 2, dataset optdigits)" in text
    assert row(text, "baseline")[1:6] == ["0.9903", "0.9120 ± 0.0020", "0.0277", "0.1000 ± 0.0000", "12.5 ± 0.0"]
    assert row(text, "batch-norm")[1:3] == ["never shown", "0.9420 ± 0.0020"]
    assert row(text, "image-norm")[1:3] == ["0.954", "0.7120 ± 0.0020"]
    assert row(text, "batch 64, adam 0.01")[1:] == ["0.1032", "0.1000 ± 0.0000"]
    assert row(text, "batch 128, adagrad 0.001")[1:] == ["0.9736", "0.9120 ± 0.0020"]
    # (a) batch normalisation
    assert "Its true test accuracy is 0.9420 ± 0.0020." in text
    assert row(text, "0")[0] == "0"
    assert "| 2 | +0.0300 | 0 | 30 | 1.9e-09 (batch-norm) |" in text
    assert "batch-norm's accuracy differs by +0.0300 ± 0.0000." in text
    # (b) double division
    assert row(text, "255^1.5")[1:] == ["0.0626", "0.7100"]
    assert row(text, "with batch normalisation")[1:] == ["0.9420 ± 0.0020", "0.7420 ± 0.0020"]
    assert "Adam, with batch normalisation: -0.2000" in text
    assert row(text, "image-batch-norm, seed 0: training")[1:] == ["0.7300", "0.7400"]
    assert row(text, "image-batch-norm, momentum 0.5, seed 0: test")[1:] == ["0.7300", "0.7400"]
    # (c) train/serve skew, (d) seeds and selection
    assert "divided once, as the notebook predicted" in text
    assert "collapsed in 3 of 3 runs" in text
    assert "Chosen by the held-out images, the best row is" in text
    # The notebook's confusion matrix and ours.
    assert "| 0 | 977 | 0 | 1 |" in text
    assert "| 0 | 910 | 90 | 0 |" in text
    for figure in ("0.9420 ± 0.0020", "+0.0300", "0.1032", "977", "910"):
        assert figure in page
    assert page.count("<svg") == 4
    assert page.count("<polyline") == 10
    # It needs nothing from elsewhere.
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_what_is_missing_is_said(api: httpx.Client, run: Run, work: Work, tmp_path: Path) -> None:
    def fails(lease: Lease) -> str | None:
        return "<script>alert(1)</script> | no" if lease.spec.name == "notebook: batch-norm, seed 1" else None

    with work(fails):
        run("notebook", "run", "--seeds", "2", "--no-proofs", *QUICK, "--json")
    text, page = written(run, tmp_path, *QUICK, "--seeds", "5")
    assert "25 of 79 runs have succeeded, 1 failed, 53 missing" in text
    assert row(text, "baseline")[2] == "0.9110 ± 0.0014 (2 of 5 seeds)"
    assert row(text, "batch-norm")[2] == "0.9400 (1 of 5 seeds)"
    assert "| 4 | one of the two is missing |" in text
    assert "How it differs over the seeds takes 3 of them; there are 1 with both." in text
    assert row(text, "255^1.5")[2] == "missing"
    assert "is missing: 0 of 8 rows." in text
    assert "notebook: batch-norm, seed 1" in text
    assert "<script>" not in page + text
    assert "&lt;script&gt;alert(1)" in page
    assert r"&lt;script>alert(1)&lt;/script> \| no" in text
    with Client(str(api.base_url)) as client:
        assert {item.state for item in client.experiments(limit=100)} == {"succeeded", "failed"}


def test_nothing_to_report(run: Run) -> None:
    refused(run("notebook", "report", *QUICK), "There is no run of the notebook yet: numeral notebook run --limit 100")
