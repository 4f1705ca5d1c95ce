"""MNIST from its four IDX files, downloaded where there are none."""

from pathlib import Path

from stpbnn.datasets import files, idx, openml
from stpbnn.datasets.idx_sets import IdxSet
from stpbnn.datasets.tables import Table

PUBLISHED = {  # size in bytes and MD5
    "train-images-idx3-ubyte.gz": (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": (1648877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
}
MNIST = IdxSet(("mnist", "MNIST/raw", "MNIST", "mnist/raw"), published=PUBLISHED)
find = MNIST.find


def read(home: Path) -> tuple[Table, Table]:
    """Return the training and the test file: images (P, side, side) of 0 to 255, labels (P,).

    Parameters
    ----------
    home : Path
        The folder of the four files, or the one above their folder ``mnist`` or ``MNIST/raw``. Where there are none at
        all, they are downloaded; files that are there are never replaced.

    Returns
    -------
    (Table, Table)
        Training and test file.

    Raises
    ------
    ValueError
        If files are absent and cannot be downloaded, or one is damaged, or does not go with the others.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
    Proceedings of the IEEE 86, 2278 (1998).
    """
    return MNIST.read_files(find(home) or _download(home))


def _download(home: Path) -> list[Path]:
    missing = MNIST.lacking(home)
    files.refuse_some(missing)
    images, labels = openml.fetch("mnist_784", 70_000, 784, missing)
    images = images.reshape(-1, 28, 28)
    paths = [home / "mnist" / name for name in MNIST.names]
    # the table is the training file followed by the test file
    parts = (images[:60_000], labels[:60_000], images[60_000:], labels[60_000:])
    files.write_new({path: idx.encode(part) for path, part in zip(paths, parts, strict=True)})
    return paths
