"""Collecting draws: block after block, into memory and onto disk, until there are enough or somebody stops it."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from stpbnn._interrupt import Noted, look
from stpbnn.samplers.chains.blocks import Arrays, Block, Chains
from stpbnn.samplers.chains.checkpoint import Checkpoint, kept_of, restored
from stpbnn.samplers.chains.mixing import convergence, reaches
from stpbnn.samplers.chains.plan import Plan, rooms

__all__ = ["Collector"]

SHOWN = 8  # test predictions that the progress bar looks at


@dataclass
class Collector:
    """The draws of a run, and the loop that collects them.

    Parameters
    ----------
    chains : Chains
        What draws.
    plan : Plan
        How many draws are wanted at most, where to stop earlier, and how many draws a block has.
    checkpoint : Checkpoint or None
        An open checkpoint.
    keep : collection of int
        The numbers of the draws whose weights are kept.
    patience : float
        Seconds that may pass between two writes of finished blocks to the checkpoint; 0 for one after every block.

    Attributes
    ----------
    kept : dict of int to mapping of str to array
        The weights (chain, ...) of the draws that keep them, by the number of the draw.
    done : int
        How many draws there are.
    stopped : str
        Why there are no more: "draws", "precision", "seconds" or "interrupted".
    """

    chains: Chains
    plan: Plan
    checkpoint: Checkpoint | None
    keep: Collection[int] = ()
    patience: float = 0.0

    def __post_init__(self) -> None:
        self._block, self._most_kept = rooms(self.plan, self.keep)
        self._until = self.plan.until or {}
        self._began = time.perf_counter()
        self._before = 0.0
        self._counted = False
        self._arrays: Arrays = {
            name: np.empty((shape.shape[0], self.plan.draws, *shape.shape[1:]), shape.dtype)
            for name, shape in self.chains.record_shapes.items()
        }
        self.kept: dict[int, Arrays] = {}
        self.done = self._written = 0
        self._last_write = self._began
        self.stopped = ""

    @property
    def seconds(self) -> float:
        """Time spent so far, that of earlier calls included."""
        return self._before + time.perf_counter() - self._began

    @property
    def arrays(self) -> Arrays:
        """Statistics and observables by name, (chain, draw, ...)."""
        return {name: values[:, : self.done] for name, values in self._arrays.items()}

    def run(self) -> None:
        """Draw until there is a reason to stop.

        Raises
        ------
        KeyboardInterrupt
            If no draw was finished before the interruption.
        ValueError
            If a chain leaves the finite numbers, or starts at none, or the checkpoint is damaged.
        OSError
            If a block cannot be written.
        """
        steps, hidden = self.plan.warmup + self.plan.draws, not self.plan.progress
        with Noted(), tqdm(total=steps, disable=hidden, unit="draw", dynamic_ncols=True) as bar:
            bar.set_description(f"{self.plan.chains} chains")
            self._run(bar)

    def _run(self, bar: tqdm) -> None:
        state = self._resumed()
        block: Block | None = None
        try:
            if self.done < self.plan.draws or state is None:
                empty = self.chains.store(self._block), self.chains.room_for_weights(self._most_kept)
            if state is None:
                block = start = Block(-self.plan.warmup, 0, self.chains.start(), *empty)
                for block in self.chains.steps(start, self.plan.warmup):
                    self._show(bar, block)
                state = block.state
            while not self._enough():
                look()
                end = min(self.plan.draws, self._next())
                block = start = Block(self.done, 0, state, *empty, self._kept_in(self.done, end))
                for block in self.chains.steps(start, end - self.done):
                    self._show(bar, block)
                    if self._late():
                        break
                self._keep(block)
                state = block.state
                if time.perf_counter() - self._last_write >= self.patience:
                    self._write(state)
            self._write(state)
            look()
        except KeyboardInterrupt:
            if block is not None and block.first == self.done and block.count:
                self._keep(block)
            if block is not None:
                self._write(block.state)
            if not self.done:
                raise
            self.stopped = "interrupted"

    def _kept_in(self, first: int, end: int) -> tuple[int, ...]:
        """Return the numbers from `first` to before `end` of the draws whose weights are kept."""
        return tuple(number for number in sorted(self.keep) if first <= number < end)

    def _resumed(self) -> Any:
        """Take up what the checkpoint holds; return the state of the chains, or None where there is none."""
        found = None if self.checkpoint is None else self.checkpoint.progress()
        if self.checkpoint is None or found is None:
            return None
        for first, stored in self.checkpoint.blocks(found.draws):
            for name, values in self._arrays.items():
                room = values[:, first : first + stored[name].shape[1]]
                room[...] = stored[name][:, : room.shape[1]]
            self.kept |= kept_of(stored)
        self.done, self._before = min(found.draws, self.plan.draws), found.seconds
        self._written = self.done
        return self.chains.placed(restored(found.state, self.chains.shapes))

    def _next(self) -> int:
        """Return the number of draws after which there is a look."""
        return (self.done // self._block + 1) * self._block

    def _late(self) -> bool:
        return self.seconds >= self._until.get("seconds", np.inf)

    def _enough(self) -> bool:
        """Return whether to stop, and note why; precision is looked at after whole blocks."""
        if self.done >= self.plan.draws:
            self.stopped = "draws"
        elif self.done and self._late():
            self.stopped = "seconds"
        elif self.done and self.done % self._block == 0 and self._precise():
            self.stopped = "precision"
        return bool(self.stopped)

    def _precise(self) -> bool:
        wanted = {name: value for name, value in self._until.items() if name != "seconds"}
        return bool(wanted) and reaches(self._predictions(), **wanted)

    def _predictions(self) -> xr.DataArray:
        """Return the draws of the predictions, or of the loss where there are no test points."""
        name = next(name for name in ("class_probability", "f_mean", "f", "train_loss") if name in self._arrays)
        values = self._arrays[name][:, : self.done]
        return xr.DataArray(values, dims=("chain", "draw", "test_point", "output")[: values.ndim])

    def _keep(self, block: Block) -> None:
        """Take the draws of a block into memory."""
        new = block.arrays()
        for name in ("train_loss", "f"):
            if name in new and not np.isfinite(new[name]).all():
                chain, draw = np.argwhere(~np.isfinite(new[name]))[0][:2]
                raise ValueError(
                    f"chain {chain}: {name} is not finite at draw {block.first + draw}; take smaller steps or a longer "
                    "warm-up, standardise X and y, or raise the temperature"
                )
        for name, values in new.items():
            self._arrays[name][:, block.first : block.done] = values
        self.kept |= self.chains.weights_of(block)
        self.done = block.done

    def _write(self, state: Any) -> None:
        """Write the draws that are not on disk yet, and the state of the chains after them, as one block."""
        if self.checkpoint is None or self._written == self.done:
            return
        new = {name: values[:, self._written : self.done] for name, values in self._arrays.items()}
        kept = {number: values for number, values in self.kept.items() if number >= self._written}
        self.checkpoint.write(self._written, new, state, self.seconds, kept)
        self._written, self._last_write = self.done, time.perf_counter()

    def _show(self, bar: tqdm, block: Block) -> None:
        """Bring the progress bar up to date: draws, step size, divergences, and R-hat and ESS after every block."""
        if bar.disable:
            return
        steps = self.plan.warmup + block.done
        if not self._counted:  # compiling, and what a checkpoint held, are no part of the pace
            self._counted = True
            bar.unpause()
            bar.initial = bar.n = steps
        bar.update(steps - bar.n)
        shown = {"": "warm-up" if block.first < 0 else f"draw {block.done}"}
        if block.first >= 0 and "step_size" in block.store:
            now = {name: np.asarray(block.store[name]) for name in ("step_size", "diverging") if name in block.store}
            shown["step"] = f"{now['step_size'][:, block.count - 1].mean():.2g}"
            if "diverging" in now:
                earlier = self._arrays["diverging"][:, : self.done].sum()
                shown["divergences"] = str(earlier + now["diverging"][:, : block.count].sum())
        if block.first == self.done and self.done >= self._block:
            found = self._at_a_glance()
            shown |= {"R-hat": f"{float(found['rhat'].max()):.3f}", "ESS": f"{float(found['ess'].min()):.0f}"}
        bar.set_postfix_str(", ".join(f"{name} {value}".strip() for name, value in shown.items()))

    def _at_a_glance(self) -> xr.Dataset:
        """Return R-hat and ESS of a few predictions; computed once a block."""
        if getattr(self, "_glanced", None) != self.done:
            series = self._predictions()
            if "test_point" in series.dims:
                series = series.isel(test_point=slice(None, None, -(-series.sizes["test_point"] // SHOWN)))
            self._glanced, self._glance = self.done, convergence(series)
        return self._glance
