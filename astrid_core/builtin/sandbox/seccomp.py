"""The filter of system calls for confined processes, as a classic BPF program.

Trusted with what it refuses: whatever reaches other processes, kernel interfaces with a history of
escapes, new namespaces and mounts, and sockets that were not granted. It is a list of refusals; the
file system is the business of the sandbox around it.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass
from typing import Final

from astrid_core.builtin.sandbox.syscall_numbers import MACHINES, Machine

_LOAD: Final = 0x20
"""Load a word of `struct seccomp_data`."""
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_REFUSE: Final = 0x00050000
_EPERM: Final = 1
_ENOSYS: Final = 38

_NUMBER_AT: Final = 0
_ARCH_AT: Final = 4
_FIRST_ARGUMENT_AT: Final = 16
_SECOND_ARGUMENT_AT: Final = 24
_X32_BIT: Final = 0x40000000

_NEW_NAMESPACES: Final = 0x7E020000
"""Every CLONE_NEW* that `clone` takes."""
_TIOCSTI: Final = 0x5412
_TIOCLINUX: Final = 0x541C

_AF_INET: Final = 2
_AF_INET6: Final = 10
_AF_NETLINK: Final = 16
_FAMILIES: Final = (_AF_INET, _AF_INET6, _AF_NETLINK)

_REFUSED: Final = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd"),
    *("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd"),
    *("mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "unshare", "setns"),
    *("open_by_handle_at", "name_to_handle_at", "fanotify_init", "quotactl", "quotactl_fd"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot"),
    *("swapon", "swapoff", "acct", "syslog", "vhangup", "lookup_dcookie", "move_pages"),
    *("settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname"),
    *("setdomainname", "iopl", "ioperm", "modify_ldt"),
)
_ABSENT: Final = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Answered as by a kernel without them, so that libraries use what the filter can look into."""
_METADATA: Final = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr"),
    *("fremovexattr", "removexattrat", "utime", "utimes", "futimesat", "utimensat"),
    "file_setattr",
)
_LEAVING_THE_GROUP: Final = ("setsid", "setpgid")
_SIGNALS: Final = ("tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")


@dataclass(frozen=True, slots=True)
class FilterRules:
    """What differs between confined processes.

    Attributes:
        network: Whether sockets may be made at all. Those of the local machine never: they lead
            to other programs, past the file system. Connected pairs are no sockets in this sense.
        metadata: Whether owners, modes, times and attributes of files may be changed. For a
            sandbox that only watches over content.
        new_groups: Whether a process may leave its process group.
        signals: Whether others than the own process group may be signalled.
    """

    network: bool
    metadata: bool = True
    new_groups: bool = True
    signals: bool = True


def this_machine() -> Machine | None:
    """The machine that this program runs on; None for one without a filter."""
    return MACHINES.get(platform.machine())


def filter_program(machine: Machine, rules: FilterRules) -> bytes:
    """The filter, as an array of `struct sock_filter`.

    Args:
        machine: For which it is.
        rules: What it lets through.
    """
    program = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_IF_EQUAL, 1, 0, machine.audit_arch),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL_PROCESS),
    ]
    refused = list(_REFUSED)
    refused += () if rules.metadata else _METADATA
    refused += () if rules.new_groups else _LEAVING_THE_GROUP
    refused += () if rules.signals else _SIGNALS
    for names, answer in ((refused, _EPERM), (_ABSENT, _ENOSYS)):
        for name in names:
            if name in machine.numbers:
                program += [
                    (_IF_EQUAL, 0, 1, machine.numbers[name]),
                    (_RETURN, 0, 0, _REFUSE | answer),
                ]
    program += _with_argument(
        machine.numbers["clone"],
        _FIRST_ARGUMENT_AT,
        [(_IF_ANY_BIT, 0, 1, _NEW_NAMESPACES), (_RETURN, 0, 0, _REFUSE | _EPERM)],
    )
    program += _with_argument(
        machine.numbers["ioctl"],
        _SECOND_ARGUMENT_AT,
        [
            (_IF_EQUAL, 1, 0, _TIOCSTI),
            (_IF_EQUAL, 0, 1, _TIOCLINUX),
            (_RETURN, 0, 0, _REFUSE | _EPERM),
        ],
    )
    if not rules.signals:
        own_group = [(_IF_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _REFUSE | _EPERM)]
        program += _with_argument(machine.numbers["kill"], _FIRST_ARGUMENT_AT, own_group)
    families = _FAMILIES if rules.network else ()
    allowed = [
        (_IF_EQUAL, len(families) - index, 0, family) for index, family in enumerate(families)
    ]
    program += _with_argument(
        machine.numbers["socket"],
        _FIRST_ARGUMENT_AT,
        [*allowed, (_RETURN, 0, 0, _REFUSE | _EPERM)],
    )
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _with_argument(
    number: int, at: int, decision: list[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """Instructions that look at an argument of one call; what they do not refuse is allowed."""
    body = [(_LOAD, 0, 0, at), *decision, (_RETURN, 0, 0, _ALLOW)]
    return [(_IF_EQUAL, 0, len(body), number), *body]
