"""What a caller has already is not sent again."""

from starlette.datastructures import Headers


def has_already(headers: Headers, etag: str) -> bool:
    """Whether a request names this ETag as one that its sender has the content of (RFC 9110, 13.1.2)."""
    named = headers.get("If-None-Match", "")
    return etag in named or named.strip() == "*"
