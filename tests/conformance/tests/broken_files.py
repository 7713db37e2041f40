"""Open files, each of which breaks one promise, and directories that hand them out."""

from __future__ import annotations

import threading

from astrid_conformance.fakes import DictDirectory, DictFile
from astrid_conformance.fakes.vfs_file import Node
from astrid_hookspecs.vfs import NodeStat, OpenMode, VfsFile


class OpensWith(DictDirectory):
    """Hands out files of another class, after `meet` threads have asked."""

    file: type[DictFile] = DictFile
    meet = 1
    meeting_modes: tuple[OpenMode, ...] = ("append", "read-write")

    def __init__(self, node: Node | None = None, lock: threading.RLock | None = None) -> None:
        super().__init__(node, lock)
        self._barrier = threading.Barrier(self.meet)

    def open(self, path: str, mode: OpenMode) -> VfsFile:
        found = super().open(path, mode)
        assert isinstance(found, DictFile)
        made = self.file(found.node, mode, self.lock)
        if mode in self.meeting_modes:
            self._barrier.wait(10)
        return made


class _WritesAtTheEnd(DictFile):
    def write_at(self, offset: int, data: bytes) -> int:
        return super().write_at(max(offset, len(self.node.data)), data)


class _LeavesNoGap(DictFile):
    def write_at(self, offset: int, data: bytes) -> int:
        return super().write_at(min(offset, len(self.node.data)), data)


class _OnlyCuts(DictFile):
    def truncate(self, size: int) -> None:
        super().truncate(min(size, len(self.node.data)))


class _WritesOnClose(DictFile):
    def __init__(self, node: Node, mode: OpenMode, lock: threading.RLock) -> None:
        self._real = node
        super().__init__(Node("regular", node.mode, data=bytearray(node.data)), mode, lock)

    def close(self) -> None:
        super().close()
        if self.mode != "read":
            self._real.data[:] = self.node.data


class _RemembersItsEnd(DictFile):
    def __init__(self, node: Node, mode: OpenMode, lock: threading.RLock) -> None:
        super().__init__(node, "read-write", lock)
        self._end = len(node.data) if mode == "append" else None

    def write_at(self, offset: int, data: bytes) -> int:
        if self._end is None:
            return super().write_at(offset, data)
        self._end += super().write_at(self._end, data)
        return len(data)


class _ForgetsItsMode(DictFile):
    def __init__(self, node: Node, mode: OpenMode, lock: threading.RLock) -> None:
        del mode
        super().__init__(node, "read-write", lock)


class _StaysOpen(DictFile):
    def close(self) -> None:
        pass


class _CountsFromTheEnd(DictFile):
    def _check(self, *numbers: int, is_allowed: bool = True) -> None:
        super()._check(*map(abs, numbers), is_allowed=is_allowed)


class _HasSmallOffsets(DictFile):
    def read_at(self, offset: int, size: int) -> bytes:
        return super().read_at(offset % 2**32, size)


class _BelongsToOneThread(DictFile):
    def write_at(self, offset: int, data: bytes) -> int:
        if threading.current_thread().name == "check-writers-of-different-files-do-not-meet":
            return super().write_at(offset, data)
        raise RuntimeError("only the thread that made me")


class BadWrites(OpensWith):
    file = _WritesAtTheEnd


class LeavesNoGap(OpensWith):
    file = _LeavesNoGap


class OnlyCuts(OpensWith):
    file = _OnlyCuts


class WritesOnClose(OpensWith):
    file = _WritesOnClose


class LastCloseWins(OpensWith):
    file = _WritesOnClose
    meet = 4


class RemembersTheEnd(OpensWith):
    file = _RemembersItsEnd


class AppendersMeet(OpensWith):
    file = _RemembersItsEnd
    meet = 4


class IgnoresModes(OpensWith):
    file = _ForgetsItsMode


class NeverCloses(OpensWith):
    file = _StaysOpen


class CountsFromTheEnd(OpensWith):
    file = _CountsFromTheEnd


class HasSmallOffsets(OpensWith):
    file = _HasSmallOffsets


class BelongsToOneThread(OpensWith):
    file = _BelongsToOneThread


class KeepsOldContent(DictDirectory):
    def open(self, path: str, mode: OpenMode) -> VfsFile:
        return super().open(path, "append" if mode == "write" else mode)


class AlwaysCreates(DictDirectory):
    def open(self, path: str, mode: OpenMode) -> VfsFile:
        super().open(path, "append").close()
        return super().open(path, mode)


class DirectoriesHaveSizes(DictDirectory):
    def stat(self, path: str) -> NodeStat:
        found = super().stat(path)
        return found._replace(size=4096) if found.kind == "directory" else found


class StampsAreSizes(DictDirectory):
    def stat(self, path: str) -> NodeStat:
        found = super().stat(path)
        return found._replace(stamp=str(found.size))
