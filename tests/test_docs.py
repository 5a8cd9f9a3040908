"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest

from service.settings import Settings

ROOT = Path(__file__).parents[1]


def variable(name: str) -> str:
    return "KERAS_BACKEND" if name == "keras_backend" else f"NUMERAL_{name.upper()}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_meaning(name: str) -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith(f"| `{variable(name)}` |")]
    assert Settings.model_fields[name].description in row


def test_no_other_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE))
    assert documented == {variable(name) for name in Settings.model_fields}


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", page.read_text()):
        link = target[0] or target[1]
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_files_that_are_named_exist(page: str) -> None:
    for name in re.findall(r"`((?:service|migrations|tests|docs)/[\w./-]+)`", (ROOT / page).read_text()):
        if name != "service/migrations":
            assert (ROOT / name).exists(), f"{page} names {name}"


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert named
    assert {first or second for first, second in named} <= targets
