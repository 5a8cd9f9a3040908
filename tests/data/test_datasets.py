"""The datasets: what is in them, where they are looked for, and what is not taken for one."""

import gc
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.data import catalogue
from service.data.catalogue import CATALOGUE
from service.data.dataset import Dataset, Split, hold_out
from service.errors import DatasetUnavailable

COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "optdigits": (
        [142, 146, 142, 146, 145, 145, 145, 143, 139, 144],
        [36, 36, 35, 37, 36, 37, 36, 36, 35, 36],
    ),
}
"""Images of each digit, in the training and in the test part."""


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = request.getfixturevalue("datasets_dir") if request.param == "mnist" else None
    return catalogue.load(request.param, folder, tmp_path_factory.mktemp("cache"))


every_dataset = pytest.mark.parametrize("loaded", CATALOGUE, indirect=True)


# What is in them


@every_dataset
def test_a_dataset_is_what_the_catalogue_says(loaded: Dataset) -> None:
    description = CATALOGUE[loaded.name]
    assert loaded.train.images.shape == (description.train_images, *description.image_shape)
    assert loaded.test.images.shape == (description.test_images, *description.image_shape)
    assert set(loaded.train.labels.tolist()) == set(range(description.classes))
    assert loaded.sha256() == description.sha256


@every_dataset
def test_every_digit_is_there_as_often_as_it_should_be(loaded: Dataset) -> None:
    parts = (loaded.train.labels, loaded.test.labels)
    assert tuple(np.bincount(labels).tolist() for labels in parts) == COUNTS[loaded.name]


@every_dataset
def test_pixels_and_labels_are_bytes_and_digits_are_light_on_black(loaded: Dataset) -> None:
    for part in (loaded.train, loaded.test):
        assert part.images.dtype == part.labels.dtype == np.uint8
        assert (part.images.min(), part.images.max()) == (0, 255)
        assert part.images[:, [0, -1], :].mean() < 1, "the edge is ground"
        assert 20 < part.images.mean() < 80


def test_optdigits_are_the_same_every_time_and_need_no_folder(tmp_path: Path) -> None:
    first, second = (catalogue.load("optdigits", None, tmp_path) for _ in range(2))
    assert first.sha256() == second.sha256()
    assert list(tmp_path.iterdir()) == []


def test_optdigits_no_image_is_in_both_parts(tmp_path: Path) -> None:
    dataset = catalogue.load("optdigits", None, tmp_path)
    train, test = ({image.tobytes() for image in part.images} for part in (dataset.train, dataset.test))
    assert len(train) == len(dataset.train)
    assert train.isdisjoint(test)


def test_an_unknown_dataset_is_unavailable_and_the_known_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match=r"'emnist'.*mnist, optdigits"):
        catalogue.load("emnist", None, tmp_path)


# Where MNIST is looked for


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: nothing listens where every request is sent."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


def refused(datasets_dir: Path | None, cache_dir: Path) -> str:
    with pytest.raises(DatasetUnavailable) as caught:
        catalogue.load("mnist", datasets_dir, cache_dir)
    return str(caught.value)


@pytest.fixture
def folders(tmp_path: Path, offline: None) -> tuple[Path, Path]:
    """A folder for datasets and one for the cache."""
    folders = tmp_path / "datasets", tmp_path / "cache"
    for folder in folders:
        folder.mkdir()
    return folders


def test_without_file_and_network_the_message_says_which_file_to_put_where(folders: tuple[Path, Path]) -> None:
    datasets, cache = folders
    message = refused(datasets, cache)
    assert all(part in message for part in ("mnist.npz", "NUMERAL_DATASETS_DIR", str(cache), "https://"))
    assert not list(cache.rglob("mnist.npz"))


def test_a_datasets_folder_and_a_cache_that_are_not_there_are_no_other_error(tmp_path: Path, offline: None) -> None:
    assert "NUMERAL_DATASETS_DIR" in refused(tmp_path / "no datasets", tmp_path / "no cache")


def test_mnist_is_read_from_the_cache(folders: tuple[Path, Path], datasets_dir: Path) -> None:
    datasets, cache = folders
    (cache / "mnist.npz").symlink_to((datasets_dir / "mnist.npz").resolve())
    assert len(catalogue.load("mnist", datasets, cache).train) == 60_000
    assert len(catalogue.load("mnist", None, cache).test) == 10_000


def test_the_datasets_folder_comes_before_the_cache(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        (folder / "mnist.npz").write_text("not MNIST")
    datasets, cache = folders
    assert str(datasets / "mnist.npz") in refused(datasets, cache)
    (datasets / "mnist.npz").unlink()
    assert str(cache / "mnist.npz") in refused(datasets, cache)


# What is taken for MNIST

Arrays = dict[str, np.ndarray]


@pytest.fixture
def mnist_arrays(datasets_dir: Path) -> Arrays:
    with np.load(datasets_dir / "mnist.npz") as archive:
        return dict(archive)


def test_a_repacked_file_is_as_good_as_the_original(
    folders: tuple[Path, Path], datasets_dir: Path, mnist_arrays: Arrays
) -> None:
    original, cache = datasets_dir, folders[1]
    # The other way round, and in the other memory order.
    repacked = {name: np.asfortranarray(mnist_arrays[name]) for name in reversed(mnist_arrays)}
    np.savez_compressed(cache / "mnist.npz", **repacked)
    assert (cache / "mnist.npz").read_bytes() != (original / "mnist.npz").read_bytes()

    ours, theirs = catalogue.load("mnist", None, cache), catalogue.load("mnist", original, cache)
    assert ours.sha256() == theirs.sha256()
    np.testing.assert_array_equal(ours.test.images, theirs.test.images)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda labels: np.where(np.arange(10_000) == 9_999, 3, labels).astype(np.uint8), id="one label"),
        pytest.param(lambda labels: labels[:-1], id="one less"),
        pytest.param(lambda labels: labels.astype(np.int8), id="another type"),
    ],
)
def test_a_file_that_is_mnist_but_for_a_trifle_is_refused(
    folders: tuple[Path, Path], mnist_arrays: Arrays, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    path = folders[1] / "mnist.npz"
    np.savez(path, **mnist_arrays | {"y_test": change(mnist_arrays["y_test"])})
    try:
        message = refused(None, folders[1])
    finally:
        path.unlink()  # 55 MB
    assert str(path) in message
    assert "y_test differs" in message


SMALL: Arrays = {
    "x_train": np.zeros((60, 28, 28), np.uint8),
    "y_train": np.zeros(60, np.uint8),
    "x_test": np.zeros((10, 28, 28), np.uint8),
    "y_test": np.zeros(10, np.uint8),
}


def other_digits(path: Path) -> None:
    np.savez_compressed(path, **SMALL)


def an_array_is_missing(path: Path) -> None:
    np.savez_compressed(path, **{name: array for name, array in SMALL.items() if name != "y_test"})


def pickled_objects(path: Path) -> None:
    np.savez_compressed(path, **SMALL | {"y_train": np.array([{"a": 1}], object)})


def a_pickle(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}], object))


def a_single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, SMALL["x_train"])


def a_text(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>")


def nothing(path: Path) -> None:
    path.touch()


def truncated(path: Path) -> None:
    np.savez(path, **SMALL)
    path.write_bytes(path.read_bytes()[:20_000])


def damaged(path: Path) -> None:
    np.savez_compressed(path, **SMALL)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        header = archive.getinfo("x_train.npy").header_offset
    name_and_extra = sum(struct.unpack_from("<HH", data, header + 26))
    begin = header + 30 + name_and_extra
    data[begin : begin + 4] = b"\xff" * 4
    path.write_bytes(data)


def damaged_later(path: Path) -> None:
    np.savez(path, **SMALL)
    data = bytearray(path.read_bytes())
    data[20_000:20_004] = b"\xff" * 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        other_digits,
        an_array_is_missing,
        pickled_objects,
        a_pickle,
        a_single_array,
        a_text,
        nothing,
        truncated,
        damaged,
        damaged_later,
    ],
)
def test_a_file_that_is_not_mnist_is_refused_and_named(
    folders: tuple[Path, Path], make: Callable[[Path], None]
) -> None:
    path = folders[0] / "mnist.npz"
    make(path)
    assert str(path) in refused(*folders)
    gc.collect()  # a file left open would be warned of here, and not in another test


# How the training part is cut


def numbered(count: int) -> Split:
    """Images that can be told from each other, and labels that belong to them."""
    numbers = np.arange(count)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = numbers % 256, numbers // 256
    return Split(images, (numbers % 10).astype(np.uint8))


def numbers(split: Split) -> list[int]:
    found = split.images[:, 0, 0].astype(int) + 256 * split.images[:, 0, 1].astype(int)
    assert (split.labels == found % 10).all(), "labels go with their images"
    return found.tolist()


@given(
    count=st.integers(2, 300),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    seed=st.integers(0, 2**31 - 1),
)
def test_holding_out_divides_the_images(count: int, fraction: float, seed: int) -> None:
    kept, held = hold_out(numbered(count), fraction, seed)
    assert sorted(numbers(kept) + numbers(held)) == list(range(count))
    assert numbers(kept) == sorted(numbers(kept)), "in their order"
    assert numbers(held) == sorted(numbers(held)), "in their order"
    assert min(len(kept), len(held)) >= 1
    assert len(held) in {1, count - 1} or abs(len(held) - count * fraction) <= 0.5


def test_what_is_held_out_is_chosen_by_the_seed() -> None:
    split = numbered(1000)
    chosen = [numbers(hold_out(split, 0.1, seed)[1]) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]
    assert max(chosen[0]) > 900 > 100 > min(chosen[0]), "from everywhere, not only from the end"


def test_a_limit_takes_the_first_training_images_and_leaves_the_test_part() -> None:
    dataset = Dataset("numbers", numbered(50), numbered(20))
    limited = dataset.limited(30)
    assert numbers(limited.train) == list(range(30))
    assert numbers(limited.test) == list(range(20))
    assert numbers(dataset.limited(80).train) == numbers(dataset.limited(None).train) == list(range(50))


def test_the_hash_is_of_the_content() -> None:
    dataset = Dataset("one", numbered(50), numbered(20))
    assert dataset.sha256() == Dataset("two", numbered(50), numbered(20)).sha256()
    changed = numbered(20)
    changed.labels[7] = 0
    assert dataset.sha256() != Dataset("one", numbered(50), changed).sha256()
