"""The checks as pytest classes: subclass one, say how to make the thing, and run pytest.

```python
class TestMyStore(KvStoreConformance):
    def make(self, directory):
        return MyStore(directory)
```
"""

from __future__ import annotations

from astrid_conformance.suites.kinds import (
    AuditSinkConformance,
    AuthzPolicyConformance,
    BusConformance,
    CapsuleBuilderConformance,
    EngineConformance,
    KvStoreConformance,
    ProcessSandboxConformance,
    SecretStoreConformance,
    VfsBackendConformance,
    VfsOverlayConformance,
)

__all__ = [
    "AuditSinkConformance",
    "AuthzPolicyConformance",
    "BusConformance",
    "CapsuleBuilderConformance",
    "EngineConformance",
    "KvStoreConformance",
    "ProcessSandboxConformance",
    "SecretStoreConformance",
    "VfsBackendConformance",
    "VfsOverlayConformance",
]
