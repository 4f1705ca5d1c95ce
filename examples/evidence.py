# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Choosing the prior by the evidence
#
# How strongly should the readout be held to zero? The evidence p(y | X) answers without a test set: it is the
# probability of the training targets under the prior, and the closed forms know it. Here it is drawn over the precision
# λ of the readout of a network of 50 hidden units, beside the error on patients that were held out.
# `optimizer="fmin_l_bfgs_b"` finds its maximum by itself, over all precisions and the temperature together.

# %%
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import stpbnn

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %%
X, y, X_test, y_test = stpbnn.datasets.load(
    "diabetes", train=150, test=200, seed=0
)
precisions, T = np.geomspace(0.03, 30, 19), 0.5
evidence, error = [], []
for precision in precisions:
    net = stpbnn.FullyConnected((50,), "erf", weight_precision=(1.0, precision))
    model = stpbnn.FiniteWidthRegressor(net, temperature=T).fit(X, y)
    evidence.append(model.log_marginal_likelihood_)
    error.append(np.mean((model.predict(X_test) - y_test) ** 2))

# %%
net = stpbnn.FullyConnected((50,), "erf")
learned = stpbnn.FiniteWidthRegressor(
    net, temperature=T, optimizer="fmin_l_bfgs_b"
).fit(X, y)
best = precisions[np.argmax(evidence)]
print(f"on the curve: highest evidence at λ = {best:.2f}, ", end="")
print(f"smallest error at λ = {precisions[np.argmin(error)]:.2f}")
print(
    "all learned:",
    ", ".join(
        f"{name} {value:.3g}"
        for name, value in learned.hyperparameters_.items()
    ),
)
print(f"squared error: {min(error):.3f} at best on the curve, ", end="")
print(
    f"{np.mean((learned.predict(X_test) - y_test) ** 2):.3f} with all learned"
)

# %%
fig, ax = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
ax.plot(precisions, evidence, "o-", ms=3, color="tab:blue")
ax.axvline(precisions[np.argmax(evidence)], color="tab:blue", lw=1, ls=":")
ax.set(
    xscale="log",
    xlabel="precision λ of the readout",
    ylabel="log evidence of 150 targets",
)
ax.yaxis.label.set_color("tab:blue")
other = ax.twinx()
other.plot(precisions, error, "s--", ms=3, color="tab:orange")
other.set_ylabel("squared error on 200 others", color="tab:orange")
fig.savefig(FOLDER / "evidence.png", dpi=100)
