"""The pictures that a command is to send: found, read, and packed into pieces that a request can carry."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from service.errors import InvalidInput

STDIN = Path("-")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""How the pictures in a folder are told from what else lies there."""

PIECE_FILES = 100
PIECE_BYTES = 8 * 2**20


class Picture(NamedTuple):
    """A file's content; or, if it cannot be read, why."""

    name: str
    content: bytes
    problem: str | None = None


def find(sources: Iterable[Path]) -> list[Path]:
    """The files themselves, and the pictures that lie directly in folders, by name.

    Raises:
        InvalidInput: there is nothing of this name, or no picture in a folder.
    """
    found: list[Path] = []
    for source in sources:
        if source == STDIN or source.is_file():
            found.append(source)
        elif source.is_dir():
            inside = sorted(file for file in _entries(source) if file.suffix.lower() in SUFFIXES and file.is_file())
            if not inside:
                raise InvalidInput(f"There is no picture in {source}.")
            found += inside
        else:
            raise InvalidInput(f"{source} cannot be read: there is no such file.")
    return found


def pieces(files: Iterable[Path]) -> Iterator[list[Picture]]:
    """The files' content in order, a request's worth at a time: a folder need not fit into memory."""
    piece: list[Picture] = []
    size = 0
    for file in files:
        picture = _read(file)
        if piece and (len(piece) == PIECE_FILES or size + len(picture.content) > PIECE_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(picture)
        size += len(picture.content)
    if piece:
        yield piece


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}") from None


def _read(file: Path) -> Picture:
    try:
        return Picture(str(file), sys.stdin.buffer.read() if file == STDIN else file.read_bytes())
    except OSError as error:
        return Picture(str(file), b"", f"cannot be read: {error.strerror}")
