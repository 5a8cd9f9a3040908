"""Writing a file for the user: as a whole or not at all."""

import os
import uuid
from pathlib import Path

from service.errors import InvalidInput


def write(target: Path, content: bytes, force: bool) -> None:
    """Put the content where it is wanted; what is there is only replaced with `force`.

    Raises:
        InvalidInput: there is something already, or it cannot be written there.
    """
    temporary = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        try:
            temporary.write_bytes(content)
            if force:
                temporary.replace(target)
            else:
                _rename(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise InvalidInput(f"{target} is there already: --force overwrites it.") from None
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror}") from None


def _rename(temporary: Path, target: Path) -> None:
    try:
        # Unlike a rename, a link fails if somebody has made the file meanwhile.
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # Not every file system has links.
        if target.exists():
            raise FileExistsError from None
        temporary.replace(target)
