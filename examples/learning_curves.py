# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Learning curves without a single sample
#
# How does the error fall with the number of examples, and does a wider network do better? `theory_grid` solves a theory
# at every training size, width and temperature; one eigendecomposition a training size serves all the rest. Infinite
# width knows no N and is one curve. The proportional limit has one for each width: with few hidden units the data
# rescale the kernel, and the more so the more examples there are for each unit.

# %%
import sys
import tempfile
from pathlib import Path

import stpbnn

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %%
X, y, X_test, y_test = stpbnn.datasets.load(
    "digits", classes=(3, 8), labels=(-1, 1), train=240, test=100, seed=0
)
net = stpbnn.FullyConnected((1,), "erf")
grid = stpbnn.theory_grid(
    net,
    X,
    y,
    X_test,
    y_test,
    widths=[10, 40, 160],
    temperatures=[0.02],
    train=[10, 20, 40, 80, 160, 240],
)
error = grid["error"].sel(part="total").squeeze("temperature")
print(
    error.transpose("theory", "width", "train")
    .round(3)
    .to_series()
    .unstack("train")
    .to_string()
)

# %%
names = {"infinite": "infinite width", "proportional": "proportional limit"}
named = grid.assign_coords(
    theory=[names[name] for name in grid["theory"].values]
)
ax = stpbnn.figures.plot_learning_curve(named)
ax.figure.savefig(FOLDER / "learning_curves.png", dpi=100)
