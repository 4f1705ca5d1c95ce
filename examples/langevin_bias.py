# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # What unadjusted Langevin dynamics gets wrong, and by how much
#
# Pacelli et al. sample with discretised Langevin dynamics, every step of which is taken. Its law is that of the
# posterior up to an error that grows in proportion to the step size ε: where the data hold the function tight, its
# variance comes out too large. For a linear network the posterior is known exactly at every width
# (`FiniteWidthRegressor`), so that the error can be measured. At the step size of the paper, 1e-3, it is small here;
# what one pays there is time, for successive draws decorrelate only after about 1/(ε T) steps.

# %%
import sys
import tempfile
from pathlib import Path

import arviz as az
import matplotlib.pyplot as plt
import numpy as np

import stpbnn
from stpbnn.samplers import Langevin, paper_scales

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
T, PAPER = 0.5, 1e-3

# %%
rng = np.random.default_rng(0)
X = rng.normal(size=(16, 4))
y = X @ rng.normal(size=4)
net = stpbnn.FullyConnected((10,), "linear")
exact = (
    stpbnn.FiniteWidthRegressor(net, temperature=T)
    .fit(X, y)
    .predict(X, return_std=True)[1]
    ** 2
)


# %%
def excess(step):
    """Return the relative error of the variance, and its standard error."""
    posterior = stpbnn.sample(
        net,
        X,
        y,
        temperature=T,
        X_test=X,
        sampler=lambda model: Langevin(
            model,
            step_size=step,
            scales=paper_scales(net, T),
            num_steps=round(1 / step),
        ),
        readout="explicit",
        warmup=40,
        draws=200,
        chains=32,
        progress=False,
    )
    f = posterior["predictions"]["f"]
    squares = ((f - f.mean(("chain", "draw"))) ** 2 / exact).mean("test_point")
    assert float(az.rhat(squares)) < 1.05
    return float(squares.mean()) - 1, float(az.mcse(squares))


steps = np.array([0.04, 0.02, 0.01])
found, error = np.transpose([excess(step) for step in steps])
slope = np.sum((found * steps / error**2)[1:]) / np.sum(
    (steps**2 / error**2)[1:]
)  # of the smaller steps
for step, value, mcse in zip(steps, found, error, strict=True):
    shown = f"{100 * value:5.1f} ± {100 * mcse:.1f} %"
    print(f"step size {step:.2f}: variance too large by {shown}")
print(f"at the paper's {PAPER}, by proportion: {100 * slope * PAPER:.2f} %")

# %%
fig, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
line = np.geomspace(PAPER / 2, steps[0] * 1.3, 50)
ax.plot(
    line,
    100 * slope * line,
    color="0.6",
    label="in proportion to ε, from the smaller steps",
)
ax.errorbar(
    steps,
    100 * found,
    yerr=200 * error,
    fmt="o",
    capsize=3,
    label="measured, two standard errors",
)
ax.axvline(PAPER, color="tab:orange", ls="--", label="the paper's step size")
ax.set(xscale="log", xlabel="step size ε", ylabel="excess variance of f (%)")
ax.axhline(0, color="k", lw=0.6)
ax.legend(fontsize=8)
fig.savefig(FOLDER / "langevin_bias.png", dpi=100)
