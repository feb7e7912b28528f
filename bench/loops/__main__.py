"""``python -m bench.loops``: measure the loops whose packages are installed here.

--only NAME: those with this in their name; --verbs check,run,fix; --write: into docs/loops.md.
"""

from __future__ import annotations

import argparse
import json

from bench.loops.cases import loops
from bench.loops.table import PAGE, RESULTS, good, measure, page


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--verbs", default="check,run,fix")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for loop in loops(given.only):
        if loop.missing:
            print(f"{loop.name}: left out, no {', '.join(loop.missing)}")
            continue
        row = measure(loop, tuple(given.verbs.split(",")))
        print(
            f"{loop.name}: {'well' if good(row) else 'NOT WELL'} {row['healthy']} {row['sick']}",
            flush=True,
        )
        before = rows.get(loop.name, {})
        for kind in ("healthy", "sick"):
            row[kind] = before.get(kind, {}) | row[kind]  # of verbs that are not measured now
        rows[loop.name] = row
        if given.write:
            RESULTS.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
            PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
