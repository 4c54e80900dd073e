"""Runs contenders one after the other, round after round, each in its own process.

A machine's speed drifts by tens of percent within minutes, so that only neighbours in
time compare: a ratio is taken within a round, and its range over the rounds is shown.
"""

import dataclasses
import json
import os
import select
import statistics
import subprocess
import sys

_LIMIT = 900  # Seconds for one answer.


@dataclasses.dataclass
class Contender:
    """Something that does the work of a contest, and what came of it.

    Args:
        name: String, as shown.
        module: Module of `benchmarks.contenders`.
        function: Function of the module that sets up the work.
        options: Dict, arguments of the function.
        items: Number of what the work counts: examples of an epoch.
    """

    name: str
    module: str
    function: str
    options: dict
    items: int
    seconds: list = dataclasses.field(default_factory=list)
    values: list = dataclasses.field(default_factory=list)
    peak_mib: float | None = None
    import_seconds: float | None = None
    first_seconds: float | None = None
    problem: str | None = None

    @property
    def rates(self):
        """Items per second of each round."""
        return [self.items / seconds for seconds in self.seconds]


class _Process:
    def __init__(self, contender, verbose):
        spec = {
            "module": contender.module,
            "function": contender.function,
            "options": contender.options,
        }
        self.contender = contender
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
            text=True,
        )

    def ask(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self):
        pipe = self._process.stdout
        ready, _, _ = select.select([pipe], [], [], _LIMIT)
        line = pipe.readline() if ready else ""
        return json.loads(line or '{"problem": "failed: no answer"}')

    def stop(self):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def run(contenders, repeats, verbose=False, report=print):
    """Measures all contenders `repeats` times, after one warm-up each.

    Args:
        contenders: List of `Contender`, which is filled in.
        repeats: Integer, rounds.
        verbose: Boolean, whether to show what the contenders print.
        report: Callable that takes a line on what is going on.
    """
    processes = []
    try:
        for contender in contenders:
            process = _Process(contender, verbose)
            processes.append(process)
            _take(contender, process.answer())
            state = contender.problem or f"ready after {_first(contender):.1f} s"
            report(f"{contender.name}: {state}")
        for number in range(repeats):
            # Every other round backwards, so that a steady drift favours nobody.
            for process in processes[:: 1 if number % 2 == 0 else -1]:
                if process.contender.problem is None:
                    _take(process.contender, process.ask())
            report(f"round {number + 1} of {repeats} done")
    finally:
        for process in processes:
            process.stop()


def start(contenders, repeats, verbose=False, report=print):
    """Measures the time to the first step, in `repeats` fresh processes each."""
    for number in range(repeats):
        for contender in contenders:
            if contender.problem is None:
                process = _Process(contender, verbose)
                _take(contender, process.answer())
                process.stop()
                if contender.problem is None:
                    contender.seconds.append(_first(contender))
        report(f"round {number + 1} of {repeats} done")


def ratios(contender, other):
    """How many times as fast `contender` was, in each round."""
    return [
        theirs / ours
        for ours, theirs in zip(contender.seconds, other.seconds, strict=True)
    ]


def spread(values, digits=2):
    """Median and range as text."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def _first(contender):
    return contender.import_seconds + contender.first_seconds


def _take(contender, answer):
    for name in ("problem", "import_seconds", "first_seconds", "peak_mib"):
        if name in answer:
            setattr(contender, name, answer[name])
    if "seconds" in answer:
        contender.seconds.append(answer["seconds"])
        contender.values.append(answer["value"])
