"""What it costs to import evengrad and to ask it for help, as ratios to what it stands on.

python bench/import_cost.py [REPETITIONS]      (make bench-import)

Each command in a process of its own, in turns, so that a busy machine slows all of them alike; medians. From
every time that of the bare interpreter is taken off. Status 1 where a limit is passed.
"""

import statistics
import subprocess
import sys
import time

BARE = "pass"
TYPER = "import typer"
CONSOLE = "import typer, rich.console"
IMPORT = "import evengrad"
HELP = "import sys; sys.argv = ['evengrad', '--help']; from evengrad.cli import app; app()"
LIMITS = ((IMPORT, TYPER, 3.0), (HELP, CONSOLE, 2.0))
NAMES = {HELP: "evengrad --help"}


def seconds(code: str) -> float:
    """One process from start to end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(repetitions: int) -> int:
    """Print the ratios."""
    codes = (BARE, TYPER, CONSOLE, IMPORT, HELP)
    times: dict[str, list[float]] = {code: [] for code in codes}
    for turn in range(repetitions + 1):
        for code in codes:
            one = seconds(code)
            if turn:  # the first turn fills the caches
                times[code].append(one)
    middle = {code: statistics.median(values) for code, values in times.items()}
    print(f"bare interpreter {middle[BARE] * 1e3:.0f} ms; beyond it, medians of {repetitions}:")
    passed = False
    for code, against, limit in LIMITS:
        own, other = middle[code] - middle[BARE], middle[against] - middle[BARE]
        passed |= own > limit * other
        print(
            f"{NAMES.get(code, code):<18}{own * 1e3:5.0f} ms   {against:<28}{other * 1e3:5.0f} ms   "
            f"ratio {own / other:.2f} (at most {limit:g})"
        )
    return int(passed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
