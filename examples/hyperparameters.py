# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Bayesian hyper-parameters: NUTS over a kernel, ν and the noise
#
# `programs.student_t_process` is a NumPyro model: priors by name, sampled with NUTS, summarised by ArviZ. The targets
# are jointly distributed, so leave-one-out statistics use the exact conditionals that `to_datatree` provides.

# %%
import sys
import tempfile
from pathlib import Path

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS

from stpbnn import programs

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %%
rng = np.random.default_rng(1)
X = np.sort(rng.uniform(-3, 3, 30))[:, None]
y = np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=30)
line = np.linspace(-4, 4, 100)[:, None]


# %%
def kernel(X1, X2, lengthscale, amplitude):
    """Matern's kernel of smoothness 3/2; `distance` has finite slopes."""
    r = 3**0.5 * programs.distance(X1, X2, lengthscale)
    return amplitude**2 * (1 + r) * jnp.exp(-r)


df = dist.TransformedDistribution(
    dist.Gamma(2.0, 0.1),
    dist.transforms.AffineTransform(2.0, 1.0, dist.constraints.positive),
)
model = programs.student_t_process(
    kernel,
    {
        "lengthscale": dist.LogNormal(0.0, 0.5),
        "amplitude": dist.LogNormal(0.0, 0.5),
        "df": df,
    },
)
noise = dist.LogNormal(-2.0, 1.0)

# %%
mcmc = MCMC(
    NUTS(model, dense_mass=True, target_accept_prob=0.9),
    num_warmup=250,
    num_samples=300,
    num_chains=2,
    chain_method="vectorized",
    progress_bar=False,
)
mcmc.run(jax.random.key(0), X, y, temperature=noise)
tree = programs.to_datatree(model, mcmc, X, y, temperature=noise, X_new=line)
summary = az.summary(tree, kind="all", ci_prob=0.9, ci_kind="eti")
print(summary[["mean", "sd", "eti90_lb", "eti90_ub", "ess_bulk", "r_hat"]])
print(az.loo(tree))

# %%
functions = tree["predictions"]["f"].stack(sample=("chain", "draw"))
fig, ax = plt.subplots(figsize=(6, 3.5))
ax.fill_between(
    line[:, 0], *np.quantile(functions, [0.05, 0.95], axis=1), alpha=0.3
)
ax.plot(line, functions[:, ::60], lw=0.7)
ax.plot(X, y, "k.")
ax.set(xlabel="x", ylabel="f(x): 90 % interval and draws")
fig.tight_layout()
fig.savefig(FOLDER / "hyperparameters.png", dpi=100)
