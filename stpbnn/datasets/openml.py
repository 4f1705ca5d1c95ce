"""Downloads through scikit-learn's OpenML client."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from stpbnn.datasets import files
from stpbnn.datasets.tables import Table

if TYPE_CHECKING:
    import pandas as pd

WAIT = 15.0  # seconds without an answer before the network counts as absent

_log = logging.getLogger(__name__)


def fetch(name: str, rows: int, pixels: int, missing: str) -> Table:
    """Download an image set as one table of unsigned bytes.

    Parameters
    ----------
    name : str
        The set's name on OpenML; its version 1 is taken.
    rows, pixels : int
        The shape expected.
    missing : str
        Which files were looked for and where: begins the message when there is no download.

    Returns
    -------
    Table
        Inputs (rows, pixels) and targets (rows,), both uint8.

    Raises
    ------
    ValueError
        If the download fails or has another shape.
    """
    from sklearn.datasets import fetch_openml

    _log.info("downloading %s from OpenML", name)
    try:
        with _patience(WAIT), TemporaryDirectory() as cache:  # what is kept, the caller writes
            # the slower parser, because pandas 3.1 reads integer classes as scikit-learn 1.9's pandas parser cannot
            bunch = fetch_openml(
                name, version=1, data_home=cache, as_frame=False, parser="liac-arff", n_retries=1, delay=0.1
            )
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(
            f"{missing} The download of {name} through scikit-learn's OpenML client failed: {error}. Put the files "
            "into one of these folders, or name their folder with data_home or the environment variable STPBNN_DATA."
        ) from error
    inputs, targets = np.asarray(bunch.data), np.asarray(bunch.target).astype(np.int64)
    if inputs.shape != (rows, pixels) or targets.shape != (rows,) or targets.min() < 0 or targets.max() > 9:
        raise ValueError(
            f"{missing} The download of {name} is not the set expected: got inputs {inputs.shape} and targets "
            f"{targets.shape}, expected {(rows, pixels)} and {(rows,)} with classes 0 to 9. Put the files into one of "
            "these folders by hand."
        )
    return Table(inputs.astype(np.uint8), targets.astype(np.uint8))


def fetch_table(
    which: int | str, data_home: str | os.PathLike[str] | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a data set of OpenML and the names of its target columns; it is downloaded once.

    Parameters
    ----------
    which : int or str
        Its number, or its name, of which the active version is taken.
    data_home : path, optional
        Where downloads are kept, as in `load`.

    Raises
    ------
    ValueError
        If it cannot be had.
    """
    from sklearn.datasets import fetch_openml

    named = {"data_id": which} if isinstance(which, int) else {"name": which}
    try:
        with _patience(WAIT), warnings.catch_warnings():
            warnings.filterwarnings("error", "Multiple active versions")
            bunch = fetch_openml(
                **named, data_home=files.home(data_home), as_frame=True, parser="liac-arff", n_retries=1, delay=0.1
            )
    except UserWarning:
        raise ValueError(
            f"openml: got {which!r}, of which there are several versions; give the number of one"
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(
            f"openml: {which!r} cannot be had through scikit-learn ({' '.join(str(error).split())}); check the name "
            "and the network, or save it as CSV and give that as file"
        ) from None
    return bunch.frame.set_axis(np.arange(1, len(bunch.frame) + 1)), tuple(bunch.target_names)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let sockets opened inside wait this long and no longer, and failed attempts pass without a warning."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A network error occurred")
            yield
    finally:
        socket.setdefaulttimeout(before)
