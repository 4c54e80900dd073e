"""The process of one contender: `python -m benchmarks.worker SPEC`, see `contest`.

It sets up, does the work once, and then once more for each line that comes in; while
no line comes it waits. Each time it answers with a line of JSON.
"""

import importlib
import json
import math
import os
import resource
import sys
import time
import traceback


def main():
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    spec = json.loads(sys.argv[1])
    start = time.perf_counter()
    try:
        module = importlib.import_module(f"benchmarks.contenders.{spec['module']}")
        imported = time.perf_counter()
        work = getattr(module, spec["function"])(**spec["options"])
        work()
    except ModuleNotFoundError as error:
        return answer(problem=f"missing: {error.name}")
    except Exception as error:
        traceback.print_exc()
        # The whole of it is shown by --verbose.
        return answer(problem=f"failed: {type(error).__name__}: {error}"[:60])
    answer(
        import_seconds=imported - start, first_seconds=time.perf_counter() - imported
    )
    for _ in sys.stdin:
        start = time.perf_counter()
        value = work()
        seconds = time.perf_counter() - start
        value = None if value is None or not math.isfinite(value) else value
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer(seconds=seconds, value=value, peak_mib=peak)


if __name__ == "__main__":
    main()
    os._exit(0)  # Without a wait for a `fit` that has not ended.
