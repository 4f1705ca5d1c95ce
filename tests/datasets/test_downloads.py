import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from sklearn.utils import Bunch

from stpbnn import datasets

LABELS = np.arange(70_000) % 10


@pytest.fixture
def served(monkeypatch):
    """The sets that a stand-in for OpenML serves, and the calls it had."""
    sets, calls = {}, []

    def fetch(name, **options):
        calls.append((name, options))
        return sets[name]

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    return sets, calls


def test_mnist_is_downloaded_once(served, tmp_path):
    sets, calls = served
    pixels = np.zeros((70_000, 784), np.uint8)
    pixels[[0, 1, 60_000], [0, 5, 783]] = 255, 51, 102
    sets["mnist_784"] = Bunch(data=pixels, target=LABELS.astype(str).astype(object))
    assert not dict(row[::2] for row in datasets.describe(tmp_path))["mnist"]
    for _ in range(2):
        X, y, Xt, yt = datasets.load("mnist", train=20, test=30, standardize=None, data_home=tmp_path)
        np.testing.assert_array_equal(X, pixels[:20])
        np.testing.assert_array_equal(Xt, pixels[60_000:60_030])
        np.testing.assert_array_equal(y.argmax(1), LABELS[:20])
        np.testing.assert_array_equal(yt.argmax(1), LABELS[:30])
    ((name, options),) = calls
    assert (name, options["as_frame"]) == ("mnist_784", False)
    assert tmp_path not in Path(options["data_home"]).parents  # what is kept there are the files alone
    assert dict(row[::2] for row in datasets.describe(tmp_path))["mnist"]
    shutil.rmtree(tmp_path / "mnist")


def test_cifar10_is_kept_in_its_binary_layout(served, tmp_path):
    pixels = np.zeros((60_000, 3072), np.uint8)
    pixels[0], pixels[50_000] = np.arange(3072) % 256, 7
    served[0]["CIFAR_10"] = Bunch(data=pixels, target=LABELS[:60_000].astype(str).astype(object))
    datasets.load("cifar10", classes=(0, 1), train=1, test=1, data_home=tmp_path)
    first = np.fromfile(tmp_path / "cifar10" / "data_batch_1.bin", np.uint8, count=3073)
    test = np.fromfile(tmp_path / "cifar10" / "test_batch.bin", np.uint8)
    assert first.tolist() == [0, *pixels[0].tolist()]
    assert len(test) == 10_000 * 3073
    assert test[:3073].tolist() == [0, *[7] * 3072]
    shutil.rmtree(tmp_path / "cifar10")


def test_cifar10_in_another_order_is_refused(served, tmp_path):
    pixels = np.broadcast_to(np.zeros(1, np.uint8), (60_000, 3072))
    served[0]["CIFAR_10"] = Bunch(data=pixels, target=np.sort(LABELS[:60_000]))
    with pytest.raises(ValueError, match="does not begin with the training set"):
        datasets.load("cifar10", data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (np.zeros((60_000, 784), np.uint8), LABELS[:60_000]),
        (np.broadcast_to(np.zeros(1, np.uint8), (70_000, 784)), LABELS + 1),
    ],
)
def test_another_set_of_that_name_is_refused(served, tmp_path, data, target):
    served[0]["mnist_784"] = Bunch(data=data, target=target)
    with pytest.raises(ValueError, match=r"is not the set expected: got .* expected \(70000, 784\)"):
        datasets.load("mnist", data_home=tmp_path)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mnist", "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"),
        ("cifar10", r"data_batch_1.bin, .*test_batch.bin \(plain"),
    ],
)
def test_no_files_and_no_network(name, files, tmp_path):
    """The client itself runs here, so that it judges our arguments; only the socket is closed."""
    before = socket.getdefaulttimeout()
    with pytest.raises(ValueError, match=f"{files}.*looked in {tmp_path / name}.*no network here.*data_home"):
        datasets.load(name, data_home=tmp_path)
    assert socket.getdefaulttimeout() == before


def test_one_missing_file_is_named(small_mnist):
    (small_mnist[-1] / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="mnist lacks only t10k-labels-idx1-ubyte"):
        datasets.load("mnist", data_home=small_mnist[-1].parent)
