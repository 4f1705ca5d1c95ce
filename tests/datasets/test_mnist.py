import gzip
import struct

import numpy as np
import pytest

from stpbnn import datasets


def paper(pixels):
    return (pixels / 255 - 0.1307) / 0.3081


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_small_files_of_ones_own(small_mnist, inside, packed):
    images, labels, test_images, test_labels, folder = small_mnist
    if not packed:
        for path in list(folder.iterdir()):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    X, y, Xt, yt = datasets.load(
        "mnist", classes=(3, 1), train=5, test=3, labels=(0, 1), data_home=folder if inside else folder.parent
    )
    keep, keep_test = np.isin(labels, (1, 3)), np.isin(test_labels, (1, 3))
    np.testing.assert_allclose(X, paper(images[keep][:5].reshape(5, 16)))
    np.testing.assert_allclose(Xt, paper(test_images[keep_test][:3].reshape(3, 16)))
    np.testing.assert_array_equal(y, labels[keep][:5] == 1)
    np.testing.assert_array_equal(yt, test_labels[keep_test][:3] == 1)


def test_seed_permutes_both_files_with_one_generator(small_mnist):
    images, labels, test_images, test_labels, folder = small_mnist
    X, y, Xt, _ = datasets.load("mnist", classes=(0, 1), train=6, standardize=None, seed=5, data_home=folder)
    keep, keep_test = labels < 2, test_labels < 2
    rng = np.random.default_rng(5)
    order, order_test = rng.permutation(keep.sum())[:6], rng.permutation(keep_test.sum())
    np.testing.assert_array_equal(X, images[keep][order].reshape(6, 16))
    np.testing.assert_array_equal(y, 2 * labels[keep][order] - 1)
    np.testing.assert_array_equal(Xt, test_images[keep_test][order_test].reshape(-1, 16))


def test_variable_names_the_folder(small_mnist, monkeypatch):
    monkeypatch.setenv("STPBNN_DATA", str(small_mnist[-1].parent))
    assert datasets.load("mnist")[0].shape == (40, 16)
    assert datasets.load("mnist")[1].shape == (40, 10)


def test_real_files(real_data):
    loaded = datasets.load(
        "mnist", classes=(0, 1), train=200, test=100, size=784, labels=(-1, 1), standardize="paper", data_home=real_data
    )
    for part, rows, X, y in (("train", 200, *loaded[:2]), ("t10k", 100, *loaded[2:])):
        pixels = gzip.decompress((real_data / "mnist" / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = np.frombuffer(
            gzip.decompress((real_data / "mnist" / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8
        )
        first = np.flatnonzero(labels < 2)[:rows]
        np.testing.assert_allclose(X, paper(np.frombuffer(pixels, np.uint8).reshape(-1, 784)[first]), rtol=1e-14)
        np.testing.assert_array_equal(y, np.where(labels[first] == 0, -1, 1))


def images(count, rows, columns):
    return gzip.compress(struct.pack(">IIII", 0x803, count, rows, columns) + bytes(count * rows * columns), mtime=0)


def labels(*values):
    return gzip.compress(struct.pack(">II", 0x801, len(values)) + bytes(values), mtime=0)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train-images-idx3-ubyte.gz", b"not packed", "train-images-idx3-ubyte.gz cannot be read"),
        ("train-images-idx3-ubyte.gz", labels(1, 2, 3, 4, 5, 6, 7, 8), "magic number 0x00000801, expected 0x00000803"),
        ("t10k-labels-idx1-ubyte.gz", images(20, 4, 4), "magic number 0x00000803, expected 0x00000801"),
        ("train-images-idx3-ubyte.gz", images(39, 4, 4), "holds 39 images and .*labels-idx1-ubyte.gz 40 labels"),
        ("train-images-idx3-ubyte.gz", images(40, 0, 0), r"holds 40 images of \(0, 0\) pixels; expected some of both"),
        ("train-images-idx3-ubyte.gz", images(0, 4, 4), r"holds 0 images of \(4, 4\) pixels; expected some of both"),
        ("train-images-idx3-ubyte.gz", images(40, 4, 5), r"images of \(4, 5\) pixels; expected square"),
        ("t10k-images-idx3-ubyte.gz", images(20, 5, 5), r"do not go together: images of \(4, 4\) and \(5, 5\)"),
        (
            "t10k-labels-idx1-ubyte.gz",
            labels(*range(20)),
            "t10k-labels-idx1-ubyte.gz holds the label 19; expected 0 to",
        ),
        ("t10k-labels-idx1-ubyte.gz", bytes(4542), "MD5 .* where ec29112dd5afa0611ce80d1b7f02629c is expected"),
    ],
)
def test_damaged_files(small_mnist, name, data, message):
    folder = small_mnist[-1]
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        datasets.load("mnist", data_home=folder)


def test_published_files_have_the_published_checksums(real_data, tmp_path):
    data = bytearray((real_data / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())
    data[1000] ^= 1
    (tmp_path / "mnist").mkdir()
    for path in (real_data / "mnist").iterdir():
        (tmp_path / "mnist" / path.name).symlink_to(path)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(data)
    with pytest.raises(ValueError, match="the copy is damaged"):
        datasets.load("mnist", data_home=tmp_path)
