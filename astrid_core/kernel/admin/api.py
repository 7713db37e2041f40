"""The door to the management API: one request in, one answer out, everything on record.

Trusted with the order: form, right, rate, record, act, record. What a request is about is read
once, into a type, and that is what is decided about and done.
Spec: kernel-and-security 4.2 to 4.4, 16 D-14, D-16, D-18, D-19.
"""

from __future__ import annotations

from astrid_core.domain.admin_request import (
    ADMIN_METHODS,
    AdminMethod,
    AdminRequest,
    parse_admin_request,
)
from astrid_core.domain.kernel_request import (
    Reply,
    answer,
    error_answer,
    parse_request,
    request_id_of,
)
from astrid_core.kernel.admin.handlers import Powers, Usage, handle
from astrid_core.kernel.failures import for_client
from astrid_core.kernel.principals.assembly import Principals
from astrid_core.kernel.request_guard import RequestGuard
from astrid_core.kernel.secret_stores import HomeSecrets
from astrid_core.ports.audit import AuditTrail
from astrid_core.security.gate import Gate
from astrid_hookspecs.values import Principal, is_principal


class AdminApi:
    """Answers management requests. Every method may be called from any thread and may wait.

    Args:
        principals: What is managed.
        gate: Says yes or no.
        audit: Where requests are recorded.
        usage: What a principal uses, by name; None where nobody counts it.
        secrets: The secret store; None without one.
    """

    def __init__(
        self,
        principals: Principals,
        gate: Gate,
        audit: AuditTrail,
        *,
        usage: Usage | None = None,
        secrets: HomeSecrets | None = None,
    ) -> None:
        self._principals = principals
        self._usage = usage
        self._secrets = secrets
        self._guard = RequestGuard(principals, gate, audit)

    def answer(self, caller: Principal, kind: str, payload: bytes) -> bytes:
        """Act on a request as it arrived.

        Args:
            caller: For whom, as the kernel decided.
            kind: Payload variant.
            payload: JSON text in the form guests receive.

        Returns:
            The payload of the answer, also of one that says why not.
        """
        request_id = request_id_of(kind, payload)
        try:
            request = parse_request(kind, payload, methods=ADMIN_METHODS)
            reply = self.handle(caller, parse_admin_request(request))
            return answer(reply.status, reply.data, request_id=request_id)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            return error_answer(for_client(error), request_id=request_id)

    def handle(self, caller: Principal, request: AdminRequest) -> Reply:
        """Act on a request whose form is right.

        Raises:
            DeniedError: The caller may not; or it was one too many.
            PrincipalError: It cannot be done; nothing was changed.
            ConfigError: The caller's profile cannot be read.
            AuditError: It could not be recorded; nothing was done.
            StoreError: It could not be written.
        """
        needed = ADMIN_METHODS[request.method]
        named = request.target or ""
        target = Principal(named) if is_principal(named) else None
        self._guard.admit(
            caller,
            needed.name,
            needed,
            right=request.right_of(caller),
            target=target,
            params=request.facts,
            durable=needed.changes,
        )
        try:
            reply = handle(self._principals, request, self._powers(caller, needed, target))
        except Exception as error:
            self._guard.record_failure(
                caller, needed.name, needed, for_client(error), target=target, params=request.facts
            )
            raise
        if needed.changes:
            self._guard.record_done(caller, needed.name, target=named)
        return reply

    def _powers(self, caller: Principal, needed: AdminMethod, target: Principal | None) -> Powers:
        return Powers(
            caller,
            usage=self._usage,
            holds=lambda right: self._principals.authority.decide(caller, right).is_allowed,
            need=lambda right: self._guard.check(caller, needed.name, right, target=target),
            secrets=self._secrets,
        )
