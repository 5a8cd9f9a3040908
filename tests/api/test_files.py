"""Artifacts: content, ETag, ranges."""

import hashlib

import httpx
import pytest


@pytest.fixture
def path(trained: int) -> str:
    return f"/v1/experiments/{trained}/artifacts"


def test_all_files_are_listed_with_size_and_hash(api: httpx.Client, path: str) -> None:
    items = {item["name"]: item for item in api.get(path).json()["items"]}
    assert items.keys() == {"log.txt", "manifest.json", "model.keras", "model.onnx"}
    content = api.get(f"{path}/model.onnx").content
    assert items["model.onnx"]["size"] == len(content)
    assert items["model.onnx"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_etag_is_the_contents_hash_and_saves_the_transfer(api: httpx.Client, path: str) -> None:
    answer = api.get(f"{path}/model.onnx")
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert api.get(f"{path}/model.onnx", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert api.get(f"{path}/model.onnx", headers={"If-None-Match": "*"}).status_code == 304
    assert api.get(f"{path}/model.onnx", headers={"If-None-Match": '"other"'}).status_code == 200
    head = api.head(f"{path}/model.onnx")
    assert head.headers["ETag"] == answer.headers["ETag"]
    assert int(head.headers["Content-Length"]) == len(answer.content)
    assert head.content == b""


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-3", b"all "),
        ("bytes=4-", b"went well\n"),
        ("BYTES=4-", b"went well\n"),
        ("bytes=-5", b"well\n"),
        ("bytes=0-999", b"all went well\n"),
        ("bytes=-999", b"all went well\n"),
    ],
)
def test_a_range_gives_a_part(api: httpx.Client, path: str, asked: str, expected: bytes) -> None:
    answer = api.get(f"{path}/log.txt", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == expected
    start = 14 - len(expected) if asked != "bytes=0-3" else 0
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/14"


@pytest.mark.parametrize("asked", ["bytes=14-", "bytes=99-100", f"bytes={10**17}-"])
def test_a_range_that_does_not_exist_is_refused(api: httpx.Client, path: str, asked: str) -> None:
    answer = api.get(f"{path}/log.txt", headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */14"
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-", "bytes=x-y", "bytes=5-2", f"bytes={'9' * 5000}-"]
)
def test_other_ranges_are_answered_with_the_whole_file(api: httpx.Client, path: str, asked: str) -> None:
    answer = api.get(f"{path}/log.txt", headers={"Range": asked})
    assert answer.status_code == 200
    assert answer.content == b"all went well\n"


def test_a_range_of_a_file_that_has_changed_gives_the_whole(api: httpx.Client, path: str) -> None:
    answer = api.get(f"{path}/log.txt", headers={"Range": "bytes=0-3", "If-Range": '"an older hash"'})
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["nothing.txt", "..%2Fnumeral.db", "%00"])
def test_an_unknown_file_is_404(api: httpx.Client, path: str, name: str) -> None:
    answer = api.get(f"{path}/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
