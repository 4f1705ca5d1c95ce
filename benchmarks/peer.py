"""deepbays in a process and an environment of its own, so that it can be timed beside stpbnn in one run.

Make the environment once and name its Python:

    uv venv peer && uv pip install --python peer/bin/python deepbays==0.1.11 torch cupy-cuda12x scipy
    STPBNN_PEER_PYTHON=peer/bin/python uv run pytest benchmarks/test_theory.py --benchmark-only -n 0

(deepbays imports cupy, which needs no GPU for that.)
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

PYTHON = os.environ.get("STPBNN_PEER_PYTHON")


def problem(P, seed=0):
    """Training set, test inputs: what both libraries are given."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((P, 784)), rng.standard_normal(P), rng.standard_normal((P, 784))


def processor_seconds(function):
    """Return the time that a call takes of this process's cores."""
    start = time.process_time()
    function()
    return time.process_time() - start


class Peer:
    """Ask deepbays for fit and prediction of P test points, or of given images, and how long they took there."""

    def __init__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([PYTHON, __file__], stdin=pipe, stdout=pipe, text=True)

    def __call__(self, model, given):
        self.process.stdin.write(json.dumps([model, given]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def solve(model, P):
    """Fit and predict with deepbays: seconds, order parameters, and the first prediction."""
    import torch
    from deepbays.rkgp.theory_1HL_CONV import CONV_1HL
    from deepbays.rkgp.theory_1HL_FC_single_output import FC_1HL, FC_1HL_nonodd
    from deepbays.rkgp.theory_deep_FC import FC_deep

    X, y, X_test = problem(P)
    start = time.perf_counter()
    if model == "one layer":
        solver = FC_1HL(400, 0.1)
    elif model == "three layers":
        solver = FC_deep(3, 400, 0.1, [1.0, 1.0, 1.0, 1.0])
        X, y, X_test = (torch.tensor(array) for array in (X, y, X_test))
    elif model == "convolution":
        solver = CONV_1HL(400, 0.1, 14, 14)
        X, y, X_test = (torch.tensor(array) for array in (X, y, X_test))
    else:
        solver = FC_1HL_nonodd(400, 0.1)
    solver.preprocess(X, y)
    solver.optimize()
    prediction = solver.predict(X_test)
    seconds = time.perf_counter() - start
    return seconds, np.atleast_1d(solver.optQ).tolist(), float(prediction[0])


def solve_images(given):
    """Fit and predict a convolutional network: processor seconds, Q, all predictions, and the largest gradient."""
    import deepbays
    import torch

    X, y, X_test = (torch.tensor(given[name], dtype=torch.float64) for name in ("X", "y", "X_test"))
    layer = {"model_type": "CONV", "mask": given["window"], "stride": given["window"]}
    settings = {"L": 1, "width": given["channels"], "D": 1, "T": given["temperature"], "priors": [1.0, 1.0]}
    solver = deepbays.RKGP(**settings, **layer)
    torch.set_num_threads(1)  # those that wait take processor seconds as well
    start = time.process_time()
    solver.preprocess(X, y)
    solver.optimize()
    predictions = solver.predict(X_test)
    seconds = time.process_time() - start
    return seconds, solver.optQ.tolist(), predictions.tolist(), float(np.abs(solver.grad).max())


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the peer prints
    if len(sys.argv) > 1:
        solve(sys.argv[1], int(sys.argv[2]))
    else:
        for line in sys.stdin:
            model, given = json.loads(line)
            found = solve_images(given) if model == "images" else solve(model, given)
            answers.write(json.dumps(found) + "\n")
            answers.flush()
