# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # How a network's order parameter settles as it grows wide
#
# Everything that finite width does in this theory goes through one number, the order parameter Q, which rescales the
# kernel. Before the data Q is random, with the relative variance 2/N. The data pull it to where the effective action is
# smallest, Q̄, and that is what the proportional limit puts in its place. How good is it to put one number there? Look
# at the law p(Q | y) at growing width N: its 90 % interval closes about Q̄ like 1/√N, and Q̄ itself goes to one, the
# value of infinite width, only where N is much greater than the number of examples.

# %%
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import stpbnn

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %%
X, y, *_ = stpbnn.datasets.load("diabetes", train=100, test=20, seed=0)
widths = [10, 20, 50, 100, 200, 500, 1000, 2000]
saddle, law = [], []
for width in widths:
    net = stpbnn.FullyConnected((width,), "erf")
    saddle.append(
        stpbnn.ProportionalLimitRegressor(net, temperature=0.2)
        .fit(X, y)
        .order_parameters_[0]
    )
    finite = stpbnn.FiniteWidthRegressor(net, temperature=0.2).fit(X, y)
    law.append(finite.order_parameter_posterior_.quantile([0.05, 0.5, 0.95])[0])
    low, middle, high = law[-1].round(3)
    print(
        f"N = {width:4d}: Q̄ = {saddle[-1]:.3f}; p(Q | y): median {middle}",
        end="",
    )
    print(f", 90 % between {low} and {high}")

# %%
low, middle, high = np.transpose(law)
fig, ax = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
ax.fill_between(widths, low, high, alpha=0.25, label="p(Q | y), 90 %")
ax.plot(widths, middle, label="p(Q | y), median")
ax.plot(widths, saddle, "k.--", label="Q̄, the saddle point")
ax.axhline(1, color="0.6", lw=1, label="infinite width")
ax.axvline(len(X), color="0.6", lw=1, ls=":", label="N = P")
ax.set(xscale="log", xlabel="width N", ylabel="order parameter Q")
ax.legend(fontsize=8)
fig.savefig(FOLDER / "order_parameter_law.png", dpi=100)
