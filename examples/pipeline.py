# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Network kernels in scikit-learn: cross-validation over depth and activation
#
# `NNGPKernel` is a scikit-learn kernel like any other: it goes into pipelines, grid searches, sums and products. With
# an optimizer its precisions would be learned as well; here they are given.

# %%
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stpbnn import FullyConnected, NNGPKernel

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# %%
settings = [
    (depth, activation) for activation in ("erf", "relu") for depth in (1, 2, 3)
]
networks = [
    FullyConnected((100,) * depth, activation, bias_precision=1.0)
    for depth, activation in settings
]
pipeline = make_pipeline(
    StandardScaler(),
    GaussianProcessRegressor(alpha=0.5, optimizer=None, normalize_y=True),
)
search = GridSearchCV(
    pipeline,
    {"gaussianprocessregressor__kernel": [NNGPKernel(net) for net in networks]},
    cv=3,
)

# %%
X, y = load_diabetes(return_X_y=True)
search.fit(X[:300], y[:300])
print("chosen:", search.best_params_["gaussianprocessregressor__kernel"])
print(f"R² on the other patients: {search.score(X[300:], y[300:]):.2f}")

# %%
scores = dict(zip(settings, search.cv_results_["mean_test_score"], strict=True))
fig, ax = plt.subplots(figsize=(4, 3))
for activation in ("erf", "relu"):
    ax.plot(
        [1, 2, 3],
        [scores[depth, activation] for depth in (1, 2, 3)],
        "o-",
        label=activation,
    )
ax.set(xlabel="hidden layers", ylabel="R², three folds", xticks=[1, 2, 3])
ax.legend()
fig.tight_layout()
fig.savefig(FOLDER / "pipeline.png", dpi=100)
