"""A folder that holds a run of the sampler: its settings, its blocks of draws and the state of its chains.

`settings.json` says what is sampled and how; `draws-FIRST-LAST.nc` holds a block; `state.npz` the state of the chains
after the last of them. A block counts once the state after it is there. Every file appears whole, none is a pickle.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from stpbnn.files import (
    DAMAGE,
    DamagedError,
    is_leftover,
    read_bytes,
    read_netcdf,
    write_netcdf,
    write_text,
    written_whole,
)

try:
    import fcntl
except ImportError:  # a system without file locks
    fcntl = None  # type: ignore[assignment]

__all__ = ["Checkpoint", "Progress", "kept_of", "restored"]

logger = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]
KEPT, SLOT = "kept", "slot"  # the draws that keep their weights, and their dimension


class Progress(NamedTuple):
    """How far a run has come: number of draws, leaves of the chains' state, and seconds spent."""

    draws: int
    state: list[np.ndarray]
    seconds: float


class Checkpoint:
    """A folder for a run of the sampler, locked for as long as the context lasts.

    Parameters
    ----------
    folder : path
        A new or empty folder, or one of an earlier run with the same settings.
    settings : mapping of str to str or number
        All that decides on the draws.

    Raises
    ------
    ValueError
        On entering: if the folder holds something else, or another run, or cannot be written, or is in use.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.settings = dict(settings)
        self._lock: Any = None

    def __enter__(self) -> Self:
        try:
            if self.folder.is_dir():
                self._refuse_foreign()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("a")
        except OSError as error:
            raise ValueError(
                f"checkpoint: {self.folder} cannot be written ({error.strerror}); choose another folder"
            ) from None
        try:
            self._lock_it()
            self._refuse_other()
            for path in self.folder.glob(".*.part"):  # of a process that was killed while it wrote
                path.unlink()
            with self._writing("its settings"):
                write_text(self.folder / "settings.json", json.dumps(self.settings, indent=2) + "\n")
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._lock.close()

    def _lock_it(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"checkpoint: {self.folder} is in use by another process; wait for it, or choose another folder"
            ) from None
        except OSError as error:  # a file system without locks
            logger.warning("checkpoint: %s cannot be locked (%s)", self.folder, error.strerror)

    def _refuse_foreign(self) -> None:
        if not (self.folder / "settings.json").is_file():
            other = sorted(path.name for path in self.folder.iterdir() if path.name != "lock" and not is_leftover(path))
            if other:
                raise ValueError(
                    f"checkpoint: {self.folder} is not empty and holds no checkpoint ({other[0]} is there); "
                    "choose another folder"
                )

    def _refuse_other(self) -> None:
        path = self.folder / "settings.json"
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            return
        try:
            there = dict(json.loads(content.decode("utf-8-sig")))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(path, error) from None
        keys = [*self.settings, *(key for key in there if key not in self.settings)]
        here = json.loads(json.dumps(self.settings))
        differ = [
            f"{key} is {there.get(key)} there and {here.get(key)} here"
            for key in keys
            if there.get(key) != here.get(key)
        ]
        if differ:
            raise ValueError(
                f"checkpoint: {self.folder} holds another run ({'; '.join(differ)}); choose another folder, or remove "
                "this one"
            )

    def progress(self) -> Progress | None:
        """Return how far the run has come, or None where no block is finished; remove what does not count."""
        path = self.folder / "state.npz"
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                leaves = [stored[f"leaf_{i}"] for i in range(len(stored.files) - 2)]
                return Progress(int(stored["draws"]), leaves, float(stored["seconds"]))
        except DAMAGE as error:
            raise self._damaged(path, error) from None

    def blocks(self, draws: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield the finished blocks up to so many draws, each with the number of its first draw."""
        done = 0
        for path in sorted(self.folder.glob("draws-*.nc")):
            first, last = (int(number) for number in path.stem.split("-")[1:])
            if last > draws:
                path.unlink()  # the state after it was not written
            elif first == done:
                try:
                    stored = read_netcdf(path, xr.open_dataset)
                except DamagedError as error:
                    raise self._damaged(path, error.reason) from None
                yield first, {str(name): values.to_numpy() for name, values in stored.items()}
                done = last
        if done != draws:
            raise self._damaged(self.folder / f"draws-{done:08d}", "the block that starts there is missing")

    def write(
        self, first: int, block: Arrays, state: Any, seconds: float, kept: Mapping[int, Arrays] | None = None
    ) -> None:
        """Write a block of draws (chain, draw, ...), then the state of the chains after it.

        The weights (chain, ...) of the draws that keep them go with the block, by the number of the draw.

        Raises
        ------
        OSError
            If there is no room, or the folder cannot be written any more; earlier blocks stay as they are.
        """
        last = first + next(iter(block.values())).shape[1]
        data = xr.Dataset({name: (("chain", "draw", *_axes(values)), values) for name, values in block.items()})
        if kept:
            data[KEPT] = (SLOT, list(kept))
            for name in next(iter(kept.values())):
                values = np.stack([weights[name] for weights in kept.values()], axis=1)
                data[f"{KEPT}_{name}"] = (("chain", SLOT, *_axes(values)), values)
        stored: dict[str, Any] = {f"leaf_{i}": _plain(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        stored |= {"draws": np.asarray(last), "seconds": np.asarray(seconds)}
        with self._writing(f"the block of draws {first} to {last - 1}"):
            write_netcdf(self.folder / f"draws-{first:08d}-{last:08d}.nc", data)
            with written_whole(self.folder / "state.npz") as temporary, temporary.open("wb") as file:
                np.savez(file, **stored)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"checkpoint: {what} could not be written ({error.strerror}); what was there is intact: make room, "
                "and the same call goes on",
                str(self.folder),
            ) from error

    def _damaged(self, path: Path, error: object) -> DamagedError:
        return DamagedError(self.folder, f"{path.name}: {error}", "remove it and sample again")


def kept_of(block: Arrays) -> dict[int, dict[str, np.ndarray]]:
    """Return the weights (chain, ...) that were stored with a block, by the number of the draw.

    Parameters
    ----------
    block : mapping of str to array
        What `Checkpoint.blocks` gives.
    """
    names = [name for name in block if name.startswith(f"{KEPT}_")]
    return {
        int(number): {name.removeprefix(f"{KEPT}_"): block[name][:, i] for name in names}
        for i, number in enumerate(block.get(KEPT, ()))
    }


def _axes(values: np.ndarray) -> list[str]:
    """Return names for all axes but the first two, which arrays of the same sizes share: each name costs time."""
    return [f"axis_{i}_of_{size}" for i, size in enumerate(values.shape[2:])]


def _plain(leaf: Any) -> np.ndarray:
    """Return an array of the state as numbers; random keys as their key data."""
    leaf = jnp.asarray(leaf)
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


def restored(leaves: list[np.ndarray], shapes: Any) -> Any:
    """Return the state whose leaves these are, from its shapes; ValueError if they do not fit.

    Examples
    --------
    >>> state = {"key": jax.random.split(jax.random.key(0), 2), "x": jnp.ones(2)}
    >>> again = restored([_plain(leaf) for leaf in jax.tree.leaves(state)], jax.eval_shape(lambda: state))
    >>> bool(jnp.all(again["key"] == state["key"]))
    True
    """
    expected, structure = jax.tree.flatten(shapes)

    def leaf(stored: np.ndarray, shape: Any) -> jax.Array:
        if not jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
            return jnp.asarray(stored, stored.dtype)
        return jax.random.wrap_key_data(jnp.asarray(stored))

    state = [leaf(stored, shape) for stored, shape in zip(leaves, expected, strict=False)]
    if [(x.shape, x.dtype) for x in state] != [(x.shape, x.dtype) for x in expected]:
        raise ValueError("the state of the chains does not fit the sampler")
    return jax.tree.unflatten(structure, state)
