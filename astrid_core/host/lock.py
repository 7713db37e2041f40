"""Generates the ABI lock from `wit/`: `python -m astrid_core.host.lock [--check]`.

The lock is what engines compare a component's imports with, so it is generated, committed and
reviewed, never edited. Runs in a source tree; the installed package only reads the result.

Spec: host-abi 1.2 (shape check), 1.3 (packages with several shapes).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from astrid_core.domain.abi import signatures
from astrid_core.domain.wit import WitSet
from astrid_hookspecs.errors import AstridError, ConfigError

LOCK_FORMAT: Final = 1
LOCK_PATH: Final = Path(__file__).with_name("abi_lock.json")
WIT_DIR: Final = Path(__file__).resolve().parents[2] / "wit"

SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
    "deps/process.wit": (
        "alternates/process-c.wit",
        "alternates/process-b.wit",
        "deps/process.wit",
    ),
    "deps/sys.wit": ("deps/sys.wit", "alternates/sys-a.wit"),
}
"""Files whose package exists in several shapes under one version: every shape, newest first."""


def build_lock(wit_dir: Path) -> dict[str, tuple[str, ...]]:
    """Signature texts by name, newest shape first.

    Args:
        wit_dir: The directory with `capsule.wit`, `deps/` and `alternates/`.

    Raises:
        ConfigError: A file is missing or is not WIT.
    """
    texts = _read(wit_dir)
    shapes = {name for names in SHAPES.values() for name in names}
    base = {name: text for name, text in texts.items() if name not in shapes}
    default = WitSet.from_texts(base | {name: texts[name] for name in SHAPES})
    default.check()
    lock: dict[str, list[str]] = {}
    for names in SHAPES.values():
        for name in names:
            for key, text in signatures(WitSet.from_texts(base | {name: texts[name]})).items():
                known = lock.setdefault(key, [])
                if text is not None and text not in known:
                    known.append(text)
    return {name: tuple(lock[name]) for name in sorted(lock)}


def render_lock(lock: Mapping[str, Sequence[str]]) -> str:
    """The text of the lock file."""
    body = {"format": LOCK_FORMAT, "signatures": {name: list(lock[name]) for name in sorted(lock)}}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _read(wit_dir: Path) -> dict[str, str]:
    try:
        texts = {
            path.relative_to(wit_dir).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(wit_dir.rglob("*.wit"))
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the WIT files cannot be read: {error}", code="abi.wit") from error
    missing = [name for names in SHAPES.values() for name in names if name not in texts]
    if missing:
        raise ConfigError(
            f"there is no {missing[0]} below {wit_dir}",
            code="abi.wit",
            hint="run this in a source tree, or name its wit/ directory with --wit",
        )
    return texts


def main(argv: Sequence[str] | None = None) -> int:
    """Write the lock, or compare it with the WIT files."""
    parser = argparse.ArgumentParser(prog="python -m astrid_core.host.lock", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; 1 when it differs")
    parser.add_argument("--wit", type=Path, default=WIT_DIR, help="the directory of the WIT files")
    options = parser.parse_args(argv)
    try:
        text = render_lock(build_lock(options.wit))
    except AstridError as error:
        sys.stderr.write(
            f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else "")
        )
        return error.exit_code
    if options.check:
        if LOCK_PATH.is_file() and LOCK_PATH.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(
            f"error: {LOCK_PATH.name} is out of date\nhint: run this without --check\n"
        )
        return 1
    LOCK_PATH.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
