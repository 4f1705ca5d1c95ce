"""Image sets as people have them on disk: any usual name and folder is found, and nobody's file is ever replaced."""

import gzip
import pickle

import numpy as np
import pytest
import sklearn.datasets
from sklearn.utils import Bunch

from stpbnn import datasets

STEMS = ["{train}-images{dash}idx3-ubyte", "{train}-labels{dash}idx1-ubyte"]


def idx_bytes(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


def small(largest=9, smallest=0):
    """Return the images and labels of a training and a test set."""
    rng = np.random.default_rng(3)
    labels = smallest + np.arange(2 * (largest - smallest + 1)) % (largest - smallest + 1)
    return rng.integers(256, size=(len(labels), 4, 4)), labels, rng.integers(256, size=(5, 4, 4)), labels[:5]


def put(folder, arrays, train="train", test="t10k", dash="-", packed=False, nested=False):
    folder.mkdir(parents=True, exist_ok=True)
    for part, pair in ((train, arrays[:2]), (test, arrays[2:])):
        for stem, array in zip(STEMS, pair, strict=True):
            name = stem.format(train=part, dash=dash)
            path = folder / name / name if nested else folder / (f"{name}.gz" if packed else name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(idx_bytes(array), mtime=0) if packed else idx_bytes(array))


@pytest.mark.parametrize(
    ("name", "folder", "inside", "names"),
    [
        ("mnist", "", "", {}),
        ("mnist", "mnist", "", {"dash": "."}),
        ("mnist", "MNIST/raw", "", {}),
        ("mnist", "MNIST/raw", "", {"packed": True}),
        ("mnist", "MNIST/raw", "MNIST", {}),
        ("mnist", "MNIST/raw", "MNIST/raw", {}),
        ("mnist", "mnist", "", {"test": "test"}),
        ("mnist", "archive", "archive", {"nested": True, "dash": "."}),
        ("fashion_mnist", "FashionMNIST/raw", "", {}),
        ("fashion_mnist", "fashion", "fashion", {"packed": True}),
        ("kmnist", "KMNIST/raw", "", {}),
        ("emnist_letters", "EMNIST/raw", "", {"train": "emnist-letters-train", "test": "emnist-letters-test"}),
        ("emnist_balanced", "gzip", "gzip", {"train": "emnist-balanced-train", "test": "emnist-balanced-test"}),
        ("emnist_digits", "", "", {"train": "emnist-digits-train", "test": "emnist-digits-test", "packed": True}),
    ],
)
def test_usual_names_and_folders(tmp_path, name, folder, inside, names):
    arrays = small(*{"emnist_letters": (26, 1), "emnist_balanced": (46, 0)}.get(name, (9, 0)))
    put(tmp_path / folder, arrays, **names)
    X, y, Xt, _ = datasets.load(name, standardize=None, data_home=tmp_path / inside)
    np.testing.assert_array_equal(X, arrays[0].reshape(-1, 16))
    np.testing.assert_array_equal(Xt, arrays[2].reshape(-1, 16))
    np.testing.assert_array_equal(y, np.unique(arrays[1]) == arrays[1][:, None])
    assert dict(row[::2] for row in datasets.describe(tmp_path / inside))[name]


def test_labels_beyond_nine_in_mnist_and_mnist_as_another_set(tmp_path):
    put(tmp_path / "a", small(26))
    with pytest.raises(
        ValueError, match=r"holds the label 26; expected 0 to 9.* by the name of its set, such as emnist"
    ):
        datasets.load("mnist", data_home=tmp_path / "a")
    with pytest.raises(
        ValueError, match=r"Not together in one folder: train-images.*They are not downloaded: put them "
    ):
        datasets.load("kmnist", data_home=tmp_path / "a")  # whose files have the names of MNIST's


@pytest.fixture
def served(monkeypatch):
    """Have OpenML serve MNIST and CIFAR-10 without a network; a set that nobody has may be downloaded."""
    monkeypatch.setattr(
        sklearn.datasets,
        "fetch_openml",
        lambda name, **options: {
            "mnist_784": Bunch(data=np.zeros((70_000, 784), np.uint8), target=np.arange(70_000) % 10),
            "CIFAR_10": Bunch(data=np.broadcast_to(np.uint8(0), (60_000, 3072)), target=np.arange(60_000) % 10),
        }[name],
    )


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("where", ["mnist", "MNIST/raw", ""])
def test_one_misnamed_file_of_mnist_loses_none(tmp_path, where):
    put(tmp_path / where, small())
    folder = tmp_path / where
    (folder / "t10k-labels-idx1-ubyte").rename(folder / "t10k-label-idx1-ubyte")
    before = contents(tmp_path)
    with pytest.raises(
        ValueError, match=r"lacks only t10k-labels-idx1-ubyte.* Nothing is downloaded where some files are"
    ):
        datasets.load("mnist", data_home=tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("kept", ["data_batch_3.bin", "cifar10_airplane_automobile_train.bin"])
def test_one_file_of_cifar10_is_not_replaced(tmp_path, kept):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / kept).write_bytes(bytes(3073))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="Nothing is downloaded where some files are there"):
        datasets.load("cifar10", data_home=tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("where", ["cifar-10-batches-py", "cifar10/cifar-10-batches-py", "cifar10"])
def test_pickles_of_cifar10_are_not_read(tmp_path, where):
    folder = tmp_path / where
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": b"", "labels": []}))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"data_batch_1 is of CIFAR-10 for Python.* Fetch cifar-10-b"):
        datasets.load("cifar10", data_home=tmp_path)
    assert contents(tmp_path) == before
