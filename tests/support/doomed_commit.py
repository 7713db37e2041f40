"""A process that commits an overlay and says so, for tests that kill it meanwhile.

python -m tests.support.doomed_commit LOWER STORE ROUND
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.overlay import Workspace

FILES = 24


def contents(turn: int) -> dict[str, bytes]:
    """What the workspace holds after a round: files that change, come and go, and move."""
    found = {f"d{n % 3}/f{n}": f"{n} in round {turn} ".encode() * 200 for n in range(FILES)}
    for number in range(FILES):
        if (number + turn) % 4 == 0:
            del found[f"d{number % 3}/f{number}"]
    found[f"only{turn}/x"] = b"x" * 5000
    return found


def edit(workspace: Workspace, turn: int) -> None:
    """Make the view look like the end of a round."""
    wanted, shown = contents(turn), workspace.seen()
    for path, data in shown.items():
        if data is not None and path not in wanted:
            workspace.view.unlink(path)
    for path in sorted((p for p, data in shown.items() if data is None), reverse=True):
        if not any(other.startswith(f"{path}/") for other in wanted):
            workspace.view.rmdir(path)
    for path, data in wanted.items():
        parent = path.rpartition("/")[0]
        if parent not in workspace.seen():
            workspace.view.mkdir(parent)
        workspace.view.replace(path, [data])


def main() -> None:
    """Edit, say `go`, commit, say `done`."""
    lower, store, turn = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    workspace = Workspace(lower, store)
    edit(workspace, turn)
    print("go", flush=True)  # noqa: T201 - what the parent waits for
    report = workspace.view.commit()
    print("done", len(report.committed), flush=True)  # noqa: T201 - the same
    sys.stdin.read()  # until the test is through with it


if __name__ == "__main__":
    main()
