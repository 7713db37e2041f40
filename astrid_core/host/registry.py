"""The handlers of every function of the ABI."""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Final

from astrid_core.host.approval import ApprovalHost
from astrid_core.host.elicit import ElicitHost
from astrid_core.host.fs import FsHost
from astrid_core.host.fs_open import FsHandleHost
from astrid_core.host.handlers import HostPackage, handler_table
from astrid_core.host.http import HttpHost, HttpHost11
from astrid_core.host.identity import IdentityHost
from astrid_core.host.instance import HandlerTable
from astrid_core.host.ipc import IpcHost
from astrid_core.host.kv import KvHost
from astrid_core.host.net import NetHost
from astrid_core.host.net_datagrams import DatagramHost
from astrid_core.host.net_listener import ListenerHost
from astrid_core.host.net_options import OptionsHost
from astrid_core.host.net_transfer import TransferHost
from astrid_core.host.poll import PollHost
from astrid_core.host.process import ProcessHost
from astrid_core.host.process_persistent import PersistentHost
from astrid_core.host.streams import ErrorHost, StreamsHost
from astrid_core.host.sys import SysHost
from astrid_core.host.uplink import UplinkHost

PACKAGES: Final[tuple[type[HostPackage], ...]] = (
    ApprovalHost,
    DatagramHost,
    ElicitHost,
    ErrorHost,
    FsHandleHost,
    FsHost,
    IdentityHost,
    HttpHost,
    HttpHost11,
    IpcHost,
    KvHost,
    ListenerHost,
    NetHost,
    OptionsHost,
    PersistentHost,
    PollHost,
    ProcessHost,
    StreamsHost,
    SysHost,
    TransferHost,
    UplinkHost,
)


@functools.cache
def all_handlers() -> HandlerTable:
    """The handler of every (interface, function) in the ABI lock."""
    return MappingProxyType(handler_table(PACKAGES))
