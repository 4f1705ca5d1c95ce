# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # What a t-process does about outliers, and what it does not
#
# Given kernel and noise, a Gaussian process is as sure of itself after surprising targets as after expected ones: its
# intervals depend on the inputs alone. A t-process with the noise in its scale has *the same mean*, so that it follows
# an outlier just as far; but all its intervals grow with the surprise. It is a model of an unknown scale, not of
# contaminated data.

# %%
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.gaussian_process.kernels import RBF

from stpbnn import StudentTProcessRegressor

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %%
rng = np.random.default_rng(0)
X = np.sort(rng.uniform(-3, 3, 30))[:, None]
clean = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=30)
surprising = clean.copy()
surprising[[6, 15, 24]] += [2.5, -3.0, 2.5]
line = np.linspace(-3.5, 3.5, 200)[:, None]

# %%
fig, axes = plt.subplots(2, 2, figsize=(8, 5), sharex=True, sharey=True)
for row, (title, df) in enumerate(
    {"Gaussian process": 1e6, "t-process, ν = 3": 3.0}.items()
):
    for ax, y, label in zip(
        axes[row],
        (clean, surprising),
        ("as expected", "three outliers"),
        strict=True,
    ):
        model = StudentTProcessRegressor(
            RBF(0.7), df=df, temperature=0.01, optimizer=None
        ).fit(X, y)
        law = model.predictive(line, noise=True)
        ax.fill_between(line[:, 0], *law.interval(0.95).T, alpha=0.3)
        ax.plot(line, law.mean)
        ax.plot(X, y, "k.", ms=4)
        ax.set_title(f"{title}: {label}", fontsize=9)
        width = np.diff(law.interval(0.95)).mean()
        print(f"{title}, {label}: mean width of 95 % intervals {width:.2f}")
axes[0, 0].set_ylim(-4, 4)
fig.savefig(FOLDER / "outliers.png", dpi=100)
