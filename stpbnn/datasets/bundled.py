"""The sets that come with scikit-learn, one file each."""

from pathlib import Path

from stpbnn.datasets.tables import Table


def digits(home: Path) -> tuple[Table]:
    """Return the 1797 handwritten digits, 8 x 8 pixels of 0 to 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (Table(bunch.images, bunch.target),)


def diabetes(home: Path) -> tuple[Table]:
    """Return the 442 patients: ten measurements, scaled as scikit-learn ships them, and the disease's progression."""
    from sklearn.datasets import load_diabetes

    return (Table(*load_diabetes(return_X_y=True)),)
