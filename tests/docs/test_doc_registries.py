"""The tables of requests and settings in the pages are those of the code."""

from __future__ import annotations

from astrid_core.config.settings import SECTIONS, TABLES, Settings, settings_values
from astrid_core.config.trust import RULES
from astrid_core.domain.admin_request import ADMIN_METHODS
from astrid_core.domain.kernel_request import METHODS
from tests.docs.markdown import DOCS


def rate(per_minute: int | None) -> str:
    return "-" if per_minute is None else str(per_minute)


def admin_rows() -> list[str]:
    rows = []
    for name, method in ADMIN_METHODS.items():
        own = f", or `{method.own_right}` for oneself" if method.own_right else ""
        params = ", ".join(f"`{field}`" for field in method.params.__struct_fields__) or "-"
        rows.append(
            f"| `{name}` | `{method.suffix}` | `{method.right}`{own} | {params} |"
            f" {rate(method.per_minute)} |"
        )
    return rows


def kernel_rows() -> list[str]:
    return [
        f"| `{name}` | `{method.right}` | {rate(method.per_minute)} |"
        for name, method in METHODS.items()
    ]


def setting_rows() -> list[str]:
    rows = []
    for key, value in settings_values(Settings()).items():
        shown = "-" if value is None else f"`{str(value).lower()}`"
        if key == "limits.workers":
            shown = "4 per core, at most 32"
        may = "tighten" if key in RULES else "-"
        rows.append(f"| `{key}` | {shown} | {may} |")
    return rows


def table_rows(page: str, *, below: str) -> list[str]:
    text = (DOCS / page).read_text().partition(f"\n## {below}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


def test_every_management_request_is_in_the_page() -> None:
    assert table_rows("management.md", below="Management requests") == admin_rows()


def test_every_kernel_request_is_in_the_page() -> None:
    assert table_rows("management.md", below="Kernel requests") == kernel_rows()


def test_every_setting_is_in_the_page() -> None:
    assert table_rows("configuration.md", below="Settings") == setting_rows()
    names = {f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys}
    text = (DOCS / "configuration.md").read_text()
    assert all(f"[{section}" in text for section in TABLES)
    assert {name for name in names if f"`{name}`" not in text} == set()
