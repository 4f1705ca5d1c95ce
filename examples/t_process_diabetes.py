# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Student's t-process regression in ten lines
#
# The interface of scikit-learn's `GaussianProcessRegressor`, with a random overall scale: the width of the predictions
# is learned from the targets, and their tails are those of a Student's t.

# %%
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

import stpbnn

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %%
X, y, X_test, y_test = stpbnn.datasets.load(
    "diabetes", train=300, test=142, seed=0
)
kernel = ConstantKernel(1.0) * RBF(3.0)
model = stpbnn.StudentTProcessRegressor(
    kernel, df=5.0, temperature=0.5, optimize_temperature=True
).fit(X, y)
law = model.predictive(X_test, noise=True)
low, high = law.interval(0.9).T
inside = ((low < y_test) & (y_test < high)).mean()
print(f"R² {model.score(X_test, y_test):.2f}, ", end="")
print(f"coverage of 90 % intervals {inside:.2f}")

# %%
fig, ax = plt.subplots(figsize=(5, 4))
ax.errorbar(
    y_test,
    law.mean,
    yerr=[law.mean - low, high - law.mean],
    fmt="o",
    ms=3,
    lw=0.5,
)
ax.axline((0, 0), slope=1, color="0.6")
ax.set(
    xlabel="disease progression, standardised",
    ylabel="prediction and 90 % interval",
)
fig.savefig(FOLDER / "t_process_diabetes.png", dpi=100)
