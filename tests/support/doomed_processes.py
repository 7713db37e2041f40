"""A kernel's process table in a process that will be killed.

`python -m tests.support.doomed_processes NOTES WORKSPACE SANDBOX MARK`: a directory for its notes,
a workspace, `bubblewrap` or `landlock`, and a number that marks the processes. Prints a line when
they run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from astrid_core.domain.process_request import parse_request
from astrid_core.host.process_service import Launch
from astrid_core.kernel.processes.table import ProcessTable
from astrid_core.security.gate import Gate
from astrid_core.security.grants import CapsuleGrants
from astrid_hookspecs.values import CapsuleId, Principal
from tests.support.sandboxes import SANDBOXES

ADA = Principal("ada")


def launch(workspace: Path, *argv: str, tier: str = "background", **fields: object) -> Launch:
    """A launch that a real gate allowed."""
    gate = Gate(votes=None, decided=lambda _event: None)
    grants = CapsuleGrants(CapsuleId("c"), host_process=(argv[0],), persistent=True)
    request = parse_request((argv[0], list(argv[1:]), None, [], None))
    return Launch(
        command=gate.check_process(grants, ADA, argv, allowed=(), network=False),
        request=request,
        workspace=workspace,
        principal=fields.get("principal", ADA),  # type: ignore[arg-type]
        capsule=fields.get("capsule", CapsuleId("c")),  # type: ignore[arg-type]
        load=str(fields.get("load", "load-1")),
        max_background=256,
        call_id=fields.get("call_id"),  # type: ignore[arg-type]
        tier=tier,  # type: ignore[arg-type]
    )


def main() -> None:
    notes, workspace, sandbox, mark = sys.argv[1:]
    table = ProcessTable(Path(notes), sandbox=SANDBOXES[sandbox])
    script = f"trap '' TERM HUP INT; (sleep {mark} &); echo ready; sleep {mark}"
    for _ in range(3):
        process = table.start(launch(Path(workspace), "sh", "-c", script))
        while not process.output_facts()[0]:
            time.sleep(0.005)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    time.sleep(60)


if __name__ == "__main__":
    main()
