"""MNIST from its four IDX files."""

from pathlib import Path

from stpbnn.datasets import files, idx, openml
from stpbnn.datasets.tables import Table

PUBLISHED = {  # size in bytes and MD5
    "train-images-idx3-ubyte.gz": (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": (1648877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
}
NAMES = [name.removesuffix(".gz") for name in PUBLISHED]


def find(home: Path) -> list[Path] | None:
    """Return the four files, training images first, or None."""
    return files.find((home / "mnist", home), NAMES)


def read(home: Path) -> tuple[Table, Table]:
    """Return the training and the test file: images (P, side, side) of 0 to 255, labels (P,).

    Parameters
    ----------
    home : Path
        The folder of the four files, or the one above their folder ``mnist``. Absent files are downloaded.

    Returns
    -------
    (Table, Table)
        Training and test file.

    Raises
    ------
    ValueError
        If a file is absent and cannot be downloaded, or is damaged, or does not go with the others.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
    Proceedings of the IEEE 86, 2278 (1998).
    """
    paths = find(home) or _download(home)
    train, test = _read_pair(*paths[:2]), _read_pair(*paths[2:])
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise ValueError(
            f"{paths[0]} and {paths[2]} do not go together: images of {train.inputs.shape[1:]} and "
            f"{test.inputs.shape[1:]} pixels. Take both from the same set."
        )
    return train, test


def _read_pair(images_path: Path, labels_path: Path) -> Table:
    images = idx.decode(files.read(images_path, PUBLISHED.get(images_path.name)), 3, images_path)
    labels = idx.decode(files.read(labels_path, PUBLISHED.get(labels_path.name)), 1, labels_path)
    if images.shape[1] != images.shape[2]:
        raise ValueError(
            f"{images_path} holds images of {images.shape[1:]} pixels; expected square ones, such as 28 x 28."
        )
    if not images.size:
        raise ValueError(
            f"{images_path} holds {len(images)} images of {images.shape[1:]} pixels; expected some of both. "
            "Fetch it again."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images and {labels_path} {len(labels)} labels; expected as many of "
            "both. Take both from the same set."
        )
    if labels.max(initial=0) > 9:
        raise ValueError(f"{labels_path} holds the label {labels.max()}; expected 0 to 9. Fetch it again.")
    return Table(images, labels)


def _download(home: Path) -> list[Path]:
    missing = files.lacking((home / "mnist", home), NAMES)
    images, labels = openml.fetch("mnist_784", 70_000, 784, missing)
    images = images.reshape(-1, 28, 28)
    paths = [home / "mnist" / name for name in NAMES]
    # the table is the training file followed by the test file
    for path, part in zip(paths, (images[:60_000], labels[:60_000], images[60_000:], labels[60_000:]), strict=True):
        files.write(path, idx.encode(part))
    return paths
