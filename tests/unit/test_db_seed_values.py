"""Values for columns, as far as they come from texts alone."""

from __future__ import annotations

import pytest

from dbt_cicd_toolkit.postgres.seed_values import sample


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^[a-z]+$", "a"),
        (r"^[A-Z]{3}\d{2,}$", "AAA11"),
        (r"^(new|old)_\w+$", "new_a"),
        (r"^[^0-9]\.x?$", "a.x"),
        (r"^[[:upper:]][[:digit:]]*$", "A1"),
        (r"(?<=a)b", None),
        (r"^(a", None),
        (r"\m[0-9]", None),
    ],
)
def test_a_text_that_an_expression_matches(pattern: str, text: str | None) -> None:
    assert sample(pattern) == text
