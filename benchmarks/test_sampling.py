"""Sampling: what a second buys, against textbook NUTS and the paper's Langevin dynamics; what a gradient costs.

    uv run pytest benchmarks/test_sampling.py -k digits --benchmark-only -n 0     # minutes; Langevin takes most of it
    STPBNN_DATA=DIR uv run pytest benchmarks/test_sampling.py -k mnist --benchmark-only -n 0
    uv run pytest benchmarks/test_sampling.py -k "gradient or memory" --benchmark-only -n 0

The efficiency is 1 / (MCSE² · s): one over the squared Monte Carlo error of the posterior mean prediction, a wall
second, compilation and warm-up included; the median over the test points.
"""

import os
import resource
import subprocess
import sys
import time
from functools import cache

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import initialize_model
from threadpoolctl import threadpool_limits

import stpbnn
from stpbnn import FullyConnected, programs
from stpbnn.samplers import MALA, Langevin, paper_scales

T, NET = 0.05, FullyConnected((100,), "erf")
CHAINS, WARMUP, DRAWS = 2, 300, 500
LANGEVIN_STEPS = 400  # from one draw to the next, at step size 1e-3


@cache
def digits():
    return stpbnn.datasets.load(
        "digits", classes=(0, 1), train=100, test=50, labels=(-1, 1), standardize="pixels", seed=0
    )


def library(**settings):
    """sample() of this library: the prediction of a draw is the mean of f given its hidden weights."""
    X, y, Xt, yt = digits()
    settings = {"warmup": WARMUP, "draws": DRAWS, "chains": CHAINS} | settings
    posterior = stpbnn.sample(NET, X, y, temperature=T, X_test=Xt, y_test=yt, progress=False, **settings)
    predictions = posterior["predictions"]
    return predictions["f_mean" if "f_mean" in predictions else "f"].values


def textbook():
    """NUTS as the NumPyro tutorial on Bayesian neural networks would have it."""
    X, y, Xt, _ = (jnp.asarray(a) for a in digits())

    def forward(X, W, v):
        return jax.lax.erf(X @ W / X.shape[1] ** 0.5) @ v / 10.0

    def model(X, y):
        W = numpyro.sample("W", dist.Normal(0.0, 1.0).expand([X.shape[1], 100]).to_event(2))
        v = numpyro.sample("v", dist.Normal(0.0, 1.0).expand([100]).to_event(1))
        numpyro.sample("y", dist.Normal(forward(X, W, v), T**0.5), obs=y)

    mcmc = MCMC(
        NUTS(model),
        num_warmup=WARMUP,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(0), X, y)
    weights = mcmc.get_samples(group_by_chain=True)
    return np.asarray(jax.jit(jax.vmap(jax.vmap(lambda W, v: forward(Xt, W, v))))(weights["W"], weights["v"]))


def langevin():
    """The paper's dynamics on all raw weights at its step size."""
    X, y, Xt, _ = (jnp.asarray(a) for a in digits())
    kernel = Langevin(programs.network(NET), step_size=1e-3, scales=paper_scales(NET, T), num_steps=LANGEVIN_STEPS)
    mcmc = MCMC(
        kernel, num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(jax.random.key(0), X, y, temperature=T)
    weights = mcmc.get_samples(group_by_chain=True)
    return np.asarray(jax.jit(jax.vmap(jax.vmap(lambda w: NET.forward(w, Xt))))(weights))


METHODS = {
    "default": library,
    "textbook NUTS": textbook,
    "the paper's Langevin": langevin,
    "hmc": lambda: library(sampler="hmc"),
    "nuts": lambda: library(sampler="nuts"),
    "mala": lambda: library(sampler="mala"),
    "mala, preconditioned": lambda: library(sampler=lambda m: MALA(m, precondition=True, num_steps=10)),
    "hmc, explicit readout": lambda: library(sampler="hmc", readout="explicit"),
    "nuts, explicit readout": lambda: library(sampler="nuts", readout="explicit"),
}


@cache
def measured(method):
    """Run a method once: seconds, efficiency, effective sample size and R-hat of its predictions."""
    start = time.perf_counter()
    f = METHODS[method]()
    seconds = time.perf_counter() - start
    points = [f[..., i] for i in range(f.shape[-1])]
    return {
        "seconds": seconds,
        "efficiency": float(np.median([1 / (az.mcse(point) ** 2 * seconds) for point in points])),
        "ess_median": float(np.median([az.ess(point) for point in points])),
        "rhat_max": float(max(az.rhat(point) for point in points)),
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.benchmark(group="digits")
def test_digits(benchmark, method):
    benchmark.pedantic(measured, (method,), rounds=1)
    benchmark.extra_info |= measured(method)
    if method == "the paper's Langevin":
        steps = (WARMUP + DRAWS) * LANGEVIN_STEPS
        benchmark.extra_info["steps_per_second"] = steps * CHAINS / measured(method)["seconds"]
        benchmark.extra_info["default_over_it"] = measured("default")["efficiency"] / measured(method)["efficiency"]
    if method == "textbook NUTS":
        benchmark.extra_info["default_over_it"] = measured("default")["efficiency"] / measured(method)["efficiency"]


def gradient(P, N, chains=1, n_inputs=784):
    """A compiled gradient of the marginal network's potential, and its argument."""
    net, rng = FullyConnected((N,), "erf"), np.random.default_rng(0)
    X, y = (
        jnp.asarray(rng.normal(size=(P, n_inputs)), jnp.float32),
        jnp.asarray(np.sign(rng.normal(size=P)), jnp.float32),
    )
    info = initialize_model(
        jax.random.key(0), programs.marginal_network(net), model_args=(X, y), model_kwargs={"temperature": 0.01}
    )
    W = jax.random.normal(jax.random.key(1), (chains, n_inputs, N))
    return jax.jit(jax.vmap(jax.value_and_grad(info.potential_fn))), {"W1": W}


def quickest(function, *arguments, repeats=7):
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.benchmark(group="gradient")
def test_gradient_cost(benchmark):
    """Exponents over P and over N_1, beside those of one product (P, N_0) x (N_0, N_1) and one factorisation."""
    grid = (500, 1000, 2000, 4000)

    @jax.jit
    def bound(X, W, K):
        return X @ W, jnp.linalg.cholesky(K)

    def seconds(P, N):
        X, W = jnp.ones((P, 784)), jnp.ones((784, N))
        return quickest(*gradient(P, N)), quickest(bound, X, W, jnp.eye(min(P, N)))

    def fit(shapes):
        ours, least = np.log([seconds(*shape) for shape in shapes]).T
        return (float(np.polyfit(np.log(grid), t, 1)[0]) for t in (ours, least))

    with threadpool_limits(1, user_api="blas"):
        for name, shapes in {
            "P": [(n, 500) for n in grid],
            "N": [(500, n) for n in grid],
            "both": [(n, n) for n in grid],
        }.items():
            benchmark.extra_info[f"exponent_{name}"], benchmark.extra_info[f"exponent_{name}_bound"] = fit(shapes)
        benchmark.pedantic(lambda g, z: jax.block_until_ready(g(z)), gradient(500, 500), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("chains", [1, 4, 64])
@pytest.mark.benchmark(group="gradients of chains, P = N_1 = 1000")
def test_gradient_of_chains(benchmark, chains):
    function, z = gradient(1000, 1000, chains)
    with threadpool_limits(1, user_api="blas"):
        benchmark.pedantic(lambda: jax.block_until_ready(function(z)), rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {"per_second": chains / benchmark.stats["min"], "device": jax.devices()[0].device_kind}


@pytest.mark.parametrize(
    ("net", "P", "minutes"),
    [(FullyConnected((500,), "erf"), 500, 20), (FullyConnected((200, 200, 200), "relu"), 200, 15)],
    ids=["mnist one layer", "mnist three layers"],
)
@pytest.mark.benchmark(group="MNIST 0/1, T = 0.01")
def test_mnist(benchmark, net, P, minutes):
    """ESS > 400 and R-hat < 1.01 for every one of 1,000 test predictions, with the shipped settings."""
    X, y, Xt, yt = stpbnn.datasets.load(
        "mnist", classes=(0, 1), train=P, test=1000, size=784, labels=(-1, 1), standardize="paper"
    )
    settings = {
        "draws": int(os.environ.get("STPBNN_DRAWS", 4000)),
        "until": {"ess": 400, "rhat": 1.01, "seconds": 60 * minutes},
    }
    posterior = benchmark.pedantic(
        stpbnn.sample,
        (net, X, y),
        {"temperature": 0.01, "X_test": Xt, "y_test": yt, **settings, "progress": False},
        rounds=1,
    )
    f = posterior["predictions"]["f_mean"]
    ess, rhat = (float(reduce(function(f))) for function, reduce in ((az.ess, np.min), (az.rhat, np.max)))
    draws = posterior["predictions"]["f"]
    benchmark.extra_info |= {
        "ess_min": ess,
        "rhat_max": rhat,
        "ess_min_of_f": float(np.min(az.ess(draws))),
        "rhat_max_of_f": float(np.max(az.rhat(draws))),
        "draws": f.sizes["draw"],
        "gradients_a_draw": float(posterior["sample_stats"]["num_steps"].mean()),
        "stopped": posterior.attrs["stopped"],
    }
    if "STPBNN_DRAWS" not in os.environ:
        assert ess > 400
        assert rhat < 1.01
        assert posterior.attrs["wall_time_s"] < 60 * minutes


LARGE_RUN = """
import numpy as np, stpbnn
rng = np.random.default_rng(0)
X, Xt = rng.normal(size=(100, 784)), rng.normal(size=(1000, 784))
posterior = stpbnn.sample(stpbnn.FullyConnected((1000,)), X, np.sign(X[:, 0]), temperature=0.1, X_test=Xt,
                          warmup=100, draws={draws}, chains=4, progress=False)
assert posterior["predictions"]["f"].shape == (4, {draws}, 1000)
"""


@pytest.mark.benchmark(group="memory")
def test_memory(benchmark):
    """4 chains of 10,000 draws, N_0 = 784, N_1 = 1000, 1,000 test points: the peak of a process of its own."""
    program = LARGE_RUN.format(draws=int(os.environ.get("STPBNN_DRAWS", 10_000)))
    run = [sys.executable, "-W", "ignore", "-c", program]
    benchmark.pedantic(subprocess.run, (run,), {"check": True}, rounds=1)
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    benchmark.extra_info["peak_gigabytes"] = gigabytes
    assert gigabytes < 2
