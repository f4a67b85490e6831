"""Times to targets → performance profiles, benchmark scores and speed-ups, by AlgoPerf's rules.  Plain pandas."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from explorer.tournament.times import Array, Times, read

TAU_MAX = 4.0
"""The slowest time that counts, in units of the fastest, and where a profile ends."""
TAUS = np.linspace(1.0, TAU_MAX, 100)
TAUS.flags.writeable = False


@dataclass(frozen=True)
class Scores:
    """What `scores` returns; rows are (ruleset, submission), times in the table's unit (seconds).

    times: a column a workload, held-out ones too; the median over studies of the best trial, infinite for a miss, NaN
    where the ruleset does not have that workload.  ratios: a column a base workload; r, infinite where it does not
    count.  profiles: a column for each of 100 values of τ from 1 to 4; ρ(τ), the share of base workloads with r ≤ τ.
    benchmark: ∫ρ dτ / (4 − 1) by the trapezoid rule on these.  exact: the integral itself.  speedups: 1 − geometric
    mean of t / t of the baseline, 0.28 for 28 % less time; NaN where there is nothing to compare.
    """

    times: pd.DataFrame
    ratios: pd.DataFrame
    profiles: pd.DataFrame
    benchmark: pd.Series
    exact: pd.Series
    speedups: pd.Series


def scores(table: pd.DataFrame, baseline: str = "baseline") -> Scores:
    r"""Score anybody's times to targets as AlgoPerf does, each ruleset by itself.

    table: columns `ruleset, submission, study, workload, kind, time_s`, other columns are ignored; a row is a study, or
    one of a study's trials, of which the fastest counts.  kind: base or held_out; a held-out variant's name begins with
    its base's, the longest that matches.  time_s: above 0; infinite (or missing) where the target was not reached.
    baseline: the submission that speed-ups refer to.

    $$ t = \operatorname{median}_{studies} \min_{trials}, \qquad r_w = t_w / \min_{submissions} t_w, \qquad
       \rho(\tau) = \tfrac{1}{W}\,\#\{w : r_w \le \tau\}, \qquad B = \tfrac13\int_1^4 \rho(\tau)\,d\tau $$

    The rules, in the order in which the competition's own scorer applies them:

    1. Every submission owes every workload of its ruleset, and as many studies of it as anybody has there; a study
       that is not in the table counts as infinite in the median.
    2. Whoever misses a base workload misses its held-out variants.
    3. A time above 4 × the workload's fastest becomes infinite; exactly 4 × still counts.  So for variants.
    4. Whoever misses a held-out variant, or lost it by 3, has an infinite time on its base workload.
    5. r is the time over the fastest that is left.  Held-out variants are not averaged over.  A workload that nobody
       reaches stays in W.

    Speed-ups compare the times of rule 1 on the base workloads that both reach: what somebody misses shows in the
    benchmark score, not here.

    `ValueError` names the column and the value that is not allowed.

    Source: Dahl et al.: Benchmarking Neural Network Training Algorithms, 2023; Kasimbeg et al.: Accelerating Neural
    Network Training: An Analysis of the AlgoPerf Competition, ICLR 2025.

    >>> columns = ["ruleset", "submission", "study", "workload", "kind", "time_s"]
    >>> rows = [("external", name, study, "w", "base", t) for name, t in [("a", 1.0), ("b", 2.0)] for study in range(3)]
    >>> found = scores(pd.DataFrame(rows, columns=columns), baseline="b")
    >>> found.benchmark.round(4).to_dict(), found.speedups.round(4).to_dict()
    ({('external', 'a'): 1.0, ('external', 'b'): 0.6717}, {('external', 'a'): 0.5, ('external', 'b'): 0.0})
    """
    found = {ruleset: _score(rows, baseline) for ruleset, rows in read(table).items()}
    joined: dict[str, Any] = {
        part.name: pd.concat(
            [getattr(one, part.name) for one in found.values()], keys=list(found), names=["ruleset", "submission"]
        )
        for part in fields(Scores)
    }
    return Scores(**joined)


def intervals(table: pd.DataFrame, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Where benchmark scores lie when studies are drawn anew: columns low and high, rows (ruleset, submission).

    A bootstrap over studies: every submission's studies on every workload are drawn with replacement, then scored as
    `scores` does.  level: the share of `resamples` between low and high.  Three studies tell little: an interval of no
    width means that their order never mattered, not that there is no chance in it.
    """
    rng, found = np.random.default_rng(seed), {}
    ends = [(1 - level) / 2, (1 + level) / 2]
    for ruleset, times in read(table).items():
        drawn = []
        for _ in range(resamples):
            picked = rng.integers(times.owed[:, None], size=times.best.shape)
            t = _median(np.where(np.isnan(times.best), np.nan, np.take_along_axis(times.best, picked, axis=-1)))
            drawn.append(integral(profile(ratios(times, t))))
        index = pd.Index(times.submissions, name="submission")
        found[ruleset] = pd.DataFrame(np.quantile(drawn, ends, axis=0).T, index, pd.Index(["low", "high"]))
    return pd.concat(found, names=["ruleset"])


def ratios(times: Times, t: Array) -> Array:
    """r `[..., S, base workloads]` of median times t `[..., S, W]`: rules 2 to 5 of `scores`."""
    left = t.copy()
    for variant, base in times.bases.items():
        left[..., variant][np.isinf(left[..., base])] = np.inf
    left[left > TAU_MAX * left.min(axis=-2, keepdims=True)] = np.inf
    for variant, base in times.bases.items():
        left[..., base][np.isinf(left[..., variant])] = np.inf
    left = left[..., times.counted]
    fastest = left.min(axis=-2, keepdims=True)
    return left / np.where(np.isinf(fastest), 1, fastest)  # ∞/∞ is ∞ here


def integral(profiles: Array) -> Array:
    """The benchmark score of profiles `[..., 100]`, by the trapezoid rule."""
    return np.trapezoid(profiles, TAUS) / (TAU_MAX - 1)


def profile(r: Array) -> Array:
    """ρ(τ) `[..., 100]` of ratios `[..., workloads]`."""
    return (r[..., None] <= TAUS).mean(axis=-2)


def _median(best: Array) -> Array:
    """Over the studies that are owed."""
    return np.nanmedian(best, axis=-1)


def _score(times: Times, baseline: str) -> Scores:
    """The scores of one ruleset, by submission."""
    t = _median(times.best)
    r = ratios(times, t)
    rho = profile(r)
    exact = np.clip(TAU_MAX - r, 0, None).mean(axis=-1) / (TAU_MAX - 1)
    index = pd.Index(times.submissions, name="submission")
    counted = [times.workloads[place] for place in times.counted]
    return Scores(
        pd.DataFrame(t, index, pd.Index(times.workloads, name="workload")),
        pd.DataFrame(r, index, pd.Index(counted, name="workload")),
        pd.DataFrame(rho, index, pd.Index(TAUS, name="tau")),
        pd.Series(integral(rho), index, name="benchmark"),
        pd.Series(exact, index, name="exact"),
        pd.Series(_speedups(times, t, baseline), index, name="speedup"),
    )


def _speedups(times: Times, t: Array, baseline: str) -> Array:
    if baseline not in times.submissions:
        return np.full(len(t), np.nan)
    mine, theirs = t[:, times.counted], t[times.submissions.index(baseline), times.counted]
    found = [np.isfinite(row) & np.isfinite(theirs) for row in mine]
    return np.array([
        1 - np.exp(np.log(row[both] / theirs[both]).mean()) if both.any() else np.nan
        for row, both in zip(mine, found, strict=True)
    ])  # fmt: skip
