"""What happens before each hop of a request: the gate, the look-up, the addresses, the record.

Trusted with one look-up: the addresses that it returns are those that were judged, and the only
ones that are connected to. Runs on the thread of the exchange. Spec: host-abi 2.3, 7.1.
"""

from __future__ import annotations

import contextlib
from typing import Final

from astrid_core.domain.http_message import OutgoingRequest
from astrid_core.domain.ip_ranges import IpAddress, parse_address
from astrid_core.domain.payload_message import format_timestamp
from astrid_core.host.http_bounds import HttpError
from astrid_core.host.instance import Instance
from astrid_core.security.checked import CheckedAddress
from astrid_hookspecs.audit import AuditEntry, AuditValue
from astrid_hookspecs.errors import AuditError, QuotaExceededError

_NS_PER_S: Final = 1_000_000_000
MAX_ADDRESSES: Final = 32
"""Of a name: each one is judged, and each refusal is on record; more are not looked at."""


class Hops:
    """Authorises and records the hops of one request.

    Args:
        instance: Whose request it is; asked on its thread, here, for whom it acts.
    """

    def __init__(self, instance: Instance) -> None:
        self._services = instance.services
        self._grants = instance.grants
        self._principal = instance.principal
        self._capsule = instance.context.id

    def authorize(self, request: OutgoingRequest) -> list[CheckedAddress]:
        """The addresses that a hop may connect to; at least one.

        Raises:
            DeniedError: The capsule may not talk to the host, or not reach where it leads.
            HttpError: `dns-error`, `quota`.
            AuditError: It was not recorded.
        """
        target, gate = request.target, self._services.gate
        grant = gate.check_http(
            self._grants,
            self._principal,
            scheme=target.scheme,
            host=target.host,
            port=target.port,
        )
        checked = gate.check_some_address(
            self._grants,
            self._principal,
            self._addresses(target.host, target.port),
            target.port,
            grant=grant,
            host=target.host,
            consent=self._services.network.consent,
        )
        self._record(request, "allowed", checked[0].rule, {})
        return checked

    def answered(self, request: OutgoingRequest, status: int) -> None:
        """Record the status of the answer, or that there was none."""
        with contextlib.suppress(AuditError):  # the request is on record
            self._record(request, "allowed", "", {"status": str(status)})

    def failed(self, request: OutgoingRequest, case: str) -> None:
        """Record why there is no answer."""
        with contextlib.suppress(AuditError):
            self._record(request, "failed", "", {"error": case})

    def _addresses(self, host: str, port: int) -> list[IpAddress]:
        literal = parse_address(host)
        if literal is not None:
            return [literal]
        try:
            found = self._services.network.look_up(self._principal, host, port)
        except QuotaExceededError as error:
            raise HttpError("quota", str(error)) from error
        except OSError as error:
            raise HttpError("dns-error") from error
        if not found:
            raise HttpError("dns-error")
        return found[:MAX_ADDRESSES]

    def _record(
        self, request: OutgoingRequest, outcome: str, rule: str, extra: dict[str, AuditValue]
    ) -> None:
        target = request.target
        self._services.audit.append(
            AuditEntry(
                timestamp=format_timestamp(int(self._services.clock.now() * _NS_PER_S)),
                principal=self._principal,
                capsule=self._capsule,
                action="http.request" if "status" not in extra else "http.response",
                resource=f"{target.scheme}://{target.authority}",
                outcome=outcome,
                rule=rule,
                detail={"host": target.host, "method": request.method, **extra},
            )
        )
