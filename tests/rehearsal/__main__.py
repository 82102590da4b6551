"""Injects one failure after the other into a local stack of its own, and prints what came of each.

make rehearse                        all of them, about a quarter of an hour
make rehearse CASES=split,disk-full  some of them
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from tests.rehearsal.cases import CASES, Case
from tests.rehearsal.play import Outcome, play, table
from tests.rehearsal.stage import stage


def main(words: list[str]) -> int:
    """The exit status is that of a failure where a case does not end as it has to."""
    parser = argparse.ArgumentParser("make rehearse", description=__doc__)
    parser.add_argument("cases", nargs="?", default="", help="names, with commas between them")
    cases = chosen(parser.parse_args(words).cases)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    outcomes: list[Outcome] = []
    try:
        rehearse(cases, outcomes)
    except KeyboardInterrupt:
        say("stopped, and all is removed")
        return 130
    finally:
        print("\n".join(table(outcomes)))
    return any(outcome.faults for outcome in outcomes)


def rehearse(cases: Sequence[Case], outcomes: list[Outcome]) -> None:
    """`outcomes` gets each as soon as it is there."""
    say(f"making a stack and the releases, on {os.cpu_count()} cores")
    with stage() as made:
        for case in cases:
            say(f"{case.name}: {case.injected} (load of the machine: {os.getloadavg()[0]:.1f})")
            outcomes.append(outcome := play(made, case))
            for fault in outcome.faults:
                say(f"{case.name}: {fault}")


def chosen(names: str) -> list[Case]:
    known = {case.name: case for case in CASES}
    wanted = {name for name in names.split(",") if name} or known.keys()
    if unknown := sorted(wanted - known.keys()):
        sys.exit(f"CASES is {names}, but there is no {unknown[0]}; choose of {', '.join(known)}.")
    return [case for case in CASES if case.name in wanted]


def say(line: str) -> None:
    print(f"rehearsal: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
