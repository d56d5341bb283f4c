"""The table of what the SDKs can do: table.py RESULTS [PAGE]

Reads the outcomes that the programs of each language wrote, a line each:

    PASS LANGUAGE/PROTOCOL STEP [| NOTE]
    FAIL LANGUAGE/PROTOCOL STEP
    LACKS LANGUAGE/PROTOCOL STEP | WHY

and prints a row for each step of steps.txt, a column for each language and protocol. With a page it
fails where that page does not end with the same table; with UPDATE_DOCS it writes it instead.
"""

import os
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
MARK = "<!-- Made by tests/others.sh: `make docs-sdks` writes it anew. -->\n"

# The columns, and where the version of each SDK is pinned.
LANGUAGES = {
    "python": ("Python", "python/requirements.txt", r"^dapr==(.+)$"),
    "javascript": ("JavaScript", "javascript/package.json", r'"@dapr/dapr": "(.+)"'),
    "go": ("Go", "go/go.mod", r"github\.com/dapr/go-sdk v(\S+)"),
    "java": ("Java", "java/pom.xml", r"<artifactId>dapr-sdk</artifactId>\s*<version>(.+)<"),
    "rust": ("Rust", "rust/Cargo.toml", r'dapr = \{ version = "=(.+?)"'),
}
COLUMNS = [
    (language, protocol)
    for language in LANGUAGES
    for protocol in ("http", "grpc")
    # The Rust SDK speaks gRPC only, in both directions.
    if (language, protocol) != ("rust", "http")
]
CELLS = {"PASS": "✓", "FAIL": "**failed**", "LACKS": "not in this SDK", "": "not taken"}


def steps():
    lines = (HERE / "steps.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def head(language, protocol):
    name, file, pattern = LANGUAGES[language]
    text = (HERE / file).read_text(encoding="utf-8")
    version = re.search(pattern, text, re.MULTILINE).group(1)
    return f"{name} {version} {dict(http='HTTP', grpc='gRPC')[protocol]}"


def read(results):
    """The outcome and the note of each step, by column; other lines are left alone."""
    outcomes = {column: {} for column in COLUMNS}
    for line in results.read_text(encoding="utf-8").splitlines():
        outcome, name, rest = line.split(" ", 2)
        if "/" in name:
            step, _, note = rest.partition(" | ")
            outcomes[tuple(name.split("/"))][step] = (outcome, note)
    return outcomes


def problems(outcomes):
    """What keeps a table from being whole."""
    known = set(steps())
    for column, found in outcomes.items():
        name = "/".join(column)
        yield from (f"{name} did not say: {step}" for step in steps() if step not in found)
        yield from (f"{name} has no step: {step}" for step in found if step not in known)
        yield from (
            f"{name} does not say why it lacks: {step}"
            for step, (outcome, note) in found.items()
            if outcome == "LACKS" and not note
        )


def table(outcomes):
    """Markdown."""
    notes = []

    def cell(outcome, note):
        if not note:
            return CELLS[outcome]
        if note not in notes:
            notes.append(note)
        return f"{CELLS[outcome]} ({notes.index(note) + 1})"

    def row(cells):
        return f"| {' | '.join(cells)} |"

    heads = ["step", *(head(*column) for column in COLUMNS)]
    rows = [row(heads), f"|{'---|' * len(heads)}"]
    for step in steps():
        found = (outcomes[column].get(step, ("", "")) for column in COLUMNS)
        rows.append(row([step, *(cell(*one) for one in found)]))
    return "\n".join([*rows, "", *(f"{i}. {note}" for i, note in enumerate(notes, 1)), ""])


def main(results, page=None):
    outcomes = read(pathlib.Path(results))
    text = table(outcomes)
    print(text)
    found = list(problems(outcomes))
    if page is None:
        return
    if found:
        sys.exit("\n".join(found))
    page = pathlib.Path(page)
    before, mark, after = page.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        sys.exit(f"{page} lacks the line {MARK}")
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(f"{before}{mark}\n{text}", encoding="utf-8")
    elif after != f"\n{text}":
        sys.exit(f"{page} differs from what the SDKs did: `make docs-sdks` writes it anew")


if __name__ == "__main__":
    main(*sys.argv[1:])
