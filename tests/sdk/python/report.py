"""Tells the outcome of cases, one line each, in the file $SDK_RESULTS."""

import os
import sys
import traceback


def run(cases):
    """Runs what a dictionary of names and functions has; ends the program."""
    failed = False
    with open(os.environ["SDK_RESULTS"], "a", encoding="utf-8") as results:
        for name, case in cases.items():
            try:
                case()
                outcome = "PASS"
            except Exception:  # whatever a case throws is its failure
                traceback.print_exc()
                outcome, failed = "FAIL", True
            print(f"{outcome} python {name}", file=results, flush=True)
    sys.exit(failed)
