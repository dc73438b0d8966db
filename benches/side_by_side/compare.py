#!/usr/bin/env python3
"""The crate `hmm` beside hmmlearn and hmmlearn-rs: same rows, same start, same iterations, same run, one thread.

    python3 benches/side_by_side/compare.py [rows]

The first run makes a venv in target/side_by_side and installs requirements.txt into it; where pip can't, it says so and stops. Builds
the Rust side with cargo (without hmmlearn-rs where that crate can't be had, and says so), draws rows from a known 4-state model with 5 features, times all
implementations one after the other and prints nanoseconds per step with the ratio to `hmm`. The log-likelihood after the
iterations stands beside each time: implementations that do the same work agree on it. Processor time, not wall time; a busy machine
still slows everything, so trust the ratios, and run it where little else runs.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "target" / "side_by_side"


def python_with_hmmlearn():
    """The interpreter of the venv, which is made anew when requirements.txt has changed."""
    home, wanted = TARGET / "venv", (HERE / "requirements.txt").read_text()
    python, installed = home / "bin" / "python", home / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        venv.create(home, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"]
        if subprocess.run(install, check=False).returncode:
            sys.exit(
                f"compare.py: pip could not install {', '.join(wanted.split())} (its reason is above); nothing was measured. "
                "Give pip a package index that it can reach, and run this again"
            )
        installed.write_text(wanted)
    return python


if __name__ == "__main__" and pathlib.Path(sys.prefix).resolve() != (TARGET / "venv").resolve():
    own = python_with_hmmlearn()
    os.execv(own, [own, __file__, *sys.argv[1:]])

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np  # noqa: E402  (after the thread counts)
from hmmlearn.hmm import GaussianHMM  # noqa: E402

STATES, DIMS, ITERATIONS = 4, 5, 6
# An EM iteration takes hmmlearn's scaling mode at least so many times as long.
RATIO_MIN = 15


def market(rows):
    """A persistent chain with unit noise about its states' means, and a start some way off."""
    rng = np.random.default_rng(7)
    transition = np.full((STATES, STATES), 0.01) + 0.96 * np.eye(STATES)
    means = np.array([[(s * 7 + i * 3) % 5 * 0.6 - 1.0 for i in range(DIMS)] for s in range(STATES)])
    states = np.zeros(rows, dtype=int)
    leave = rng.random(rows) < 0.03
    for t in range(1, rows):
        states[t] = (states[t - 1] + rng.integers(1, STATES)) % STATES if leave[t] else states[t - 1]
    return means[states] + rng.standard_normal((rows, DIMS)), transition, 0.8 * means


def hmmlearn(kind, implementation, iterations, x, transition, means):
    model = GaussianHMM(
        STATES, covariance_type=kind, implementation=implementation, n_iter=iterations, tol=-np.inf,
        init_params="", min_covar=0.0, covars_prior=0.0,
    )
    model.startprob_ = np.full(STATES, 1.0 / STATES)
    model.transmat_ = transition.copy()
    model.means_ = means.copy()
    model.covars_ = np.ones((STATES, DIMS)) if kind == "diag" else np.stack([np.eye(DIMS)] * STATES)
    begun = time.process_time()
    if iterations:
        model.fit(x)
        return (time.process_time() - begun) * 1e9 / len(x), list(model.monitor_.history)[-1]
    log_probability, _ = model.decode(x)
    return (time.process_time() - begun) * 1e9 / len(x), log_probability


def python_side(x, transition, means):
    for kind in ("diag", "full"):
        for implementation in ("scaling", "log"):
            run = lambda n: hmmlearn(kind, implementation, n, x, transition, means)  # noqa: E731
            few = min(run(2)[0] for _ in range(2))
            many, after = run(ITERATIONS)
            who = f"hmmlearn {implementation}"
            yield {"who": who, "what": f"EM {kind}", "nanos": (many - few) / (ITERATIONS - 2), "log_likelihood": after}
            nanos, path = min(run(0) for _ in range(3))
            yield {"who": who, "what": f"Viterbi {kind}", "nanos": nanos, "log_likelihood": path}


def rust_side(x, transition, means):
    with tempfile.TemporaryDirectory() as directory:
        for name, values in {
            "rows": x, "start": np.full(STATES, 1.0 / STATES), "transition": transition, "means": means,
        }.items():
            np.ascontiguousarray(values, dtype="<f8").tofile(pathlib.Path(directory) / f"{name}.f64")
        build = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", HERE / "Cargo.toml", "--target-dir", TARGET]
        if subprocess.run(build, check=False).returncode:
            print("compare.py: without hmmlearn-rs, which cargo could not build (its reason is above)", file=sys.stderr)
            if subprocess.run([*build, "--no-default-features"], check=False).returncode:
                sys.exit("compare.py: cargo could not build the Rust side either (its reason is above); nothing was measured")
        binary = TARGET / "release" / "side_by_side"
        arguments = [binary, directory, str(STATES), str(DIMS), str(ITERATIONS)]
        for line in subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.splitlines():
            yield json.loads(line)


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    market_of_rows = market(rows)
    found = [*rust_side(*market_of_rows), *python_side(*market_of_rows)]
    print(f"{STATES} states, {DIMS} features, {rows:,} rows, one thread; nanoseconds per step (and EM iteration)\n")
    print(f"{'':14}{'':22}{'ns/step':>10}{'× hmm':>10}{'log-likelihood':>20}")
    for what in dict.fromkeys(line["what"] for line in found):
        ours = next(line["nanos"] for line in found if line["what"] == what and line["who"] == "hmm")
        for line in (line for line in found if line["what"] == what):
            ratio, log_likelihood = line["nanos"] / ours, line["log_likelihood"]
            print(f"{what:14}{line['who']:22}{line['nanos']:10.1f}{ratio:10.1f}{log_likelihood:20.4f}")
    nanos = {(line["who"], line["what"]): line["nanos"] for line in found}
    for kind in ("diag", "full"):
        ratio = nanos["hmmlearn scaling", f"EM {kind}"] / nanos["hmm", f"EM {kind}"]
        verdict = "yes" if ratio >= RATIO_MIN else "NO"
        print(f"\nEM {kind}: hmmlearn's scaling mode takes {ratio:.1f} × as long; at least {RATIO_MIN}? {verdict}", end="")
    print()


if __name__ == "__main__":
    main()
