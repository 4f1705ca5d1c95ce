import numpy as np
import pytest

from stpbnn import datasets


def grey(records):
    red, green, blue = records[:, 1:].reshape(-1, 3, 1024).transpose(1, 0, 2).astype(float)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("where", ["", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_full_set_of_six_files(small_cifar, tmp_path, where):
    records, folder = small_cifar
    home = tmp_path / "other"
    (home / where).parent.mkdir(parents=True, exist_ok=True)
    folder.rename(home / where)
    X, y, Xt, yt = datasets.load("cifar10", classes=(2, 1), train=8, standardize=None, data_home=home)
    train, test = records[:20], records[20:]
    kept = train[np.isin(train[:, 0], (1, 2))][:8]
    np.testing.assert_allclose(X, grey(kept), rtol=1e-14)
    np.testing.assert_array_equal(y, np.where(kept[:, 0] == 2, -1, 1))
    np.testing.assert_allclose(Xt, grey(test[1:3]), rtol=1e-14)
    np.testing.assert_array_equal(yt, [1, -1])


def test_real_files_of_two_classes(real_data):
    loaded = datasets.load(
        "cifar10",
        classes=(0, 1),
        train=200,
        test=100,
        size=784,
        labels=(-1, 1),
        standardize="paper",
        data_home=real_data,
    )
    for part, rows, X, y in (("train", 200, *loaded[:2]), ("test", 100, *loaded[2:])):
        path = real_data / "cifar10" / f"cifar10_airplane_automobile_{part}.bin"
        records = np.fromfile(path, np.uint8, count=3073 * rows).reshape(rows, 3073)
        centre = grey(records).reshape(-1, 32, 32)[:, 2:30, 2:30].reshape(-1, 784)
        np.testing.assert_allclose(X, (centre / 255 - 0.1307) / 0.3081, rtol=1e-12)
        np.testing.assert_array_equal(y, 2.0 * records[:, 0] - 1)


def test_real_files_have_no_third_class(real_data):
    with pytest.raises(ValueError, match="training rows of cifar10 have no class 2; they have 0, 1"):
        datasets.load("cifar10", classes=(0, 2), data_home=real_data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "data_batch_2.bin has 0 bytes; expected a multiple of 3073"),
        (bytes(3074), "data_batch_2.bin has 3074 bytes; expected a multiple of 3073"),
        (bytes(3073) + b"\x0a" + bytes(3072), "data_batch_2.bin holds the label byte 10 in record 1; expected 0 to 9"),
    ],
)
def test_damaged_files(small_cifar, data, message):
    folder = small_cifar[1]
    (folder / "data_batch_2.bin").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        datasets.load("cifar10", data_home=folder)
