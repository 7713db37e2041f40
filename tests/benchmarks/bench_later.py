"""Budgets of the design that nothing here can measure yet."""

from __future__ import annotations

from tests.benchmarks.measure import Row, skipped


def run(*, quick: bool = False) -> list[Row]:
    """Name them."""
    del quick
    return [
        skipped(
            "warm tool call from a client over the socket, with audit",
            "needs the daemon's socket",
            budget=">= 8 x faster than an MCP stdio server",
        ),
        skipped(
            "8 pipelined clients with durable audit",
            "needs the daemon's socket",
            budget=">= 0.8 x the rate without audit; >= 10,000/s on two cores",
        ),
        skipped(
            "astrid call, astrid status",
            "need the daemon",
            budget="<= 4 x python -c pass",
        ),
        skipped(
            "daemon start to ready with 20 cached capsules",
            "needs the daemon; the kernel it will hold is measured by bench_start",
            budget="<= 1 x the start of an MCP server",
        ),
    ]
