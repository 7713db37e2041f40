"""Where requests to the kernel go and where their answers come from.

Apart from the rules of topics, because a client needs these and loads nothing else.
"""

from __future__ import annotations

from typing import Final

REQUEST_PREFIX: Final = "astrid.v1.request."
RESPONSE_PREFIX: Final = "astrid.v1.response."
ADMIN_PREFIX: Final = "astrid.v1.admin."
ADMIN_RESPONSE_PREFIX: Final = "astrid.v1.admin.response."
