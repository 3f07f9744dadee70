"""How often a certificate is broken, and what it keeps next to an oracle, in simulated worlds.

    python benchmarks/certificate.py [--worlds N] [--seed S]

The worlds are those of `tests/stats/test_certificate.py`. A certificate is broken if more than 5% of what it keeps
differs in the world itself. The first oracle knows each threshold's true difference; the second also has only as many
prompts: it knows which one threshold to test, and tests it as the certificate does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import scipy

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.stats.test_certificate import KINDS, one_world, share_and_rate

from tuneworthy.stats.certificate import FEWEST_KEPT, certify

ALPHA, MOST = 0.1, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20261202)
    args = parser.parse_args()
    for kind in KINDS:
        rng = np.random.default_rng(args.seed)
        n, n_dev = (150, 60) if kind == "small" else (780, 250)
        broken = refused = 0
        kept = knowing = limited = 0.0
        for _ in range(args.worlds):
            draw = one_world(kind, rng)
            calibration = draw(n)[0]
            found = certify(calibration, draw(n_dev)[0], alpha=ALPHA)
            units, rates = draw(20_000)
            share, rate = share_and_rate(units, rates, found)
            broken, refused, kept = broken + (rate > MOST), refused + (found is None), kept + share
            order = np.argsort(-units.sure, kind="stable")
            weights = np.cumsum(units.weights[order])
            risks, shares = np.cumsum((units.weights * rates)[order]) / weights, weights / weights[-1]
            ends = np.flatnonzero(np.append(np.diff(units.sure[order]) != 0, True))
            knowing += max(shares[ends][risks[ends] <= MOST], default=0.0)
            some = ends[np.unique(np.linspace(0, len(ends) - 1, 80).astype(int))]
            sizes = (shares[some] * calibration.weights.sum() ** 2 / (calibration.weights**2).sum()).astype(int)
            allowed = scipy.stats.binom.ppf(ALPHA, np.maximum(sizes, 1), MOST) - 1
            passes = scipy.stats.binom.cdf(allowed, np.maximum(sizes, 1), risks[some])
            fair = (sizes >= FEWEST_KEPT) & (allowed >= 0) & (risks[some] <= MOST)
            limited += float((np.where(fair, passes, 0.0) * shares[some]).max())
        limit = ALPHA + 2 * (ALPHA * (1 - ALPHA) / args.worlds) ** 0.5
        print(
            f"{kind}: broken {broken / args.worlds:.1%} (limit {limit:.1%}), keeps {kept / args.worlds:.1%}, "
            f"{kept / knowing:.2f} of an oracle, {kept / limited:.2f} of an oracle with {n} prompts, none in "
            f"{refused / args.worlds:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
