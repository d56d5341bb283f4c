"""Tells the outcome of cases and steps, one line each, in the file $SDK_RESULTS."""

import os
import pathlib
import sys
import traceback


class Lacks(str):
    """Why the SDK has no such step."""


class Noted:
    """A step, and what there is to say of it."""

    def __init__(self, step, note):
        self.step, self.note = step, note

    def __call__(self):
        self.step()


def passes(run):
    try:
        run()
    except Exception:  # whatever a case throws is its failure
        traceback.print_exc()
        return False
    return True


def tell(lines):
    """Writes what an iterator tells of outcome and name; ends the program."""
    failed = False
    with open(os.environ["SDK_RESULTS"], "a", encoding="utf-8") as results:
        for outcome, name in lines:
            print(f"{outcome} {name}", file=results, flush=True)
            failed = failed or outcome == "FAIL"
    sys.exit(failed)


def run(cases):
    """Runs what a dictionary of names and functions has."""
    tell(
        ("PASS" if passes(case) else "FAIL", f"python {name}") for name, case in cases.items()
    )


def take(protocol, steps):
    """Takes the steps of the common script in their order, each by what the dictionary has."""
    lines = pathlib.Path(os.environ["SDK_STEPS"]).read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert not steps.keys() - names, steps.keys() - names

    def outcome(name):
        step = steps[name]
        told = f"python/{protocol} {name}"
        if isinstance(step, Lacks):
            return "LACKS", f"{told} | {step}"
        note = f" | {step.note}" if isinstance(step, Noted) else ""
        return "PASS" if passes(step) else "FAIL", told + note

    tell(map(outcome, names))
