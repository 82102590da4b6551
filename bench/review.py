"""How often the review finds a fall of 30 %, and how often it calls a stable volume unstable, by simulation.

    python bench/review.py [RUNS]

Every run has a day after a release and the days that it is compared with, judged by reviewing.py of
components/release. Counts come by chance around a volume that goes through the week (five days at its height,
Saturday at half of that, Sunday at a third), and differs from day to day and from week to week by the noise
besides. The release is on any weekday. Seeds are fixed, so this always prints the same.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from dataclasses import dataclass

from components.release.reviewing import Counts, judge

DAYS = (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.33)  # Monday to Sunday, of the height
A_DAY = (20, 100, 1000)
NOISE = (0.0, 0.05, 0.1, 0.2)
FALL = 0.3
WEEKS = 4
TOLERANCE = 20.0


@dataclass(frozen=True, kw_only=True)
class Volume:
    """`height`: on a day in the middle of the week. `noise`: of a day, and of a week, as a share."""

    height: float
    noise: float

    def review(self, rng: random.Random, *, fall: float) -> Counts:
        weekday = rng.randrange(7)
        share_before, share_after = DAYS[weekday], DAYS[(weekday + 1) % 7]
        levels = [self._other(rng) for _ in range(WEEKS + 1)]  # this week's first
        return Counts(
            after=self._count(rng, share_after * levels[0] * (1 - fall)),
            before=self._count(rng, share_before * levels[0]),
            weeks=tuple(self._count(rng, share_after * level) for level in levels[1:]),
            weeks_before=tuple(self._count(rng, share_before * level) for level in levels[1:]),
        )

    def _count(self, rng: random.Random, share: float) -> int:
        return poisson(rng, self.height * share * self._other(rng))

    def _other(self, rng: random.Random) -> float:
        return math.exp(rng.gauss(0, self.noise))


def poisson(rng: random.Random, expected: float) -> int:
    if expected > 200:
        return max(0, round(rng.gauss(expected, math.sqrt(expected))))
    count, left = 0, math.exp(-expected)
    share = rng.random()
    while share > left:
        count += 1
        share *= rng.random()
    return count


def verdicts(volume: Volume, *, fall: float, runs: int) -> Counter[str]:
    rng = random.Random(f"{volume} {fall}")
    return Counter(
        judge(volume.review(rng, fall=fall), tolerance_percent=TOLERANCE).verdict for _ in range(runs)
    )


def main(runs: int) -> None:
    print(
        f"| a day | noise | a fall of {100 * FALL:.0f} % is found "
        "| stable is called not stable | not enough data |"
    )
    print("|---|---|---|---|---|")
    for height in A_DAY:
        for noise in NOISE:
            volume = Volume(height=height, noise=noise)
            fallen = verdicts(volume, fall=FALL, runs=runs)
            stable = verdicts(volume, fall=0, runs=runs)
            found, wrong = fallen["not stable"], stable["not stable"]
            print(f"| {height} | {100 * noise:.0f} % | {found} | {wrong} | {stable['not enough data']} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
