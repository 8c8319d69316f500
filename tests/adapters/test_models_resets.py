"""How long to wait, by the counters that a refusal carries."""

from __future__ import annotations

import pytest

from holdfast.adapters.models.resets import wait

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "120ms"}, 360.0),
        (
            {
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1m2.5s",
            },
            62.5,
        ),
        ({"x-ratelimit-reset": "1790000007000"}, 7.0),
        ({"x-ratelimit-reset": "1790000030"}, 30.0),
        ({"ratelimit-reset": "12"}, 12.0),
        (
            {
                "anthropic-ratelimit-requests-remaining": "10",
                "anthropic-ratelimit-requests-reset": "2026-09-21T14:20:00Z",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-09-21T14:13:25+00:00",
            },
            5.0,
        ),
        ({"x-ratelimit-reset": "soon", "x-ratelimit-reset-tokens": "1h2x"}, 0.0),
        ({"x-ratelimit-reset-requests": "90d"}, 0.0),
    ],
)
def test_the_counter_that_is_used_up_says_how_long(headers: dict[str, str], seconds: float):
    assert wait(headers, NOW) == pytest.approx(seconds)
