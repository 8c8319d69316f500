"""What a provider counted, as far as it can be true: less than nothing would give money back."""

from __future__ import annotations

import math

from pydantic_ai.usage import RequestUsage

_MOST = 100_000_000


def believed(usage: RequestUsage) -> RequestUsage | None:
    """The count in whole tokens. None if it is of nothing, or of what no call can have used."""
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_reasoning_tokens,
    )
    given, taken, read, written, reasoning = counts
    believable = (given or taken) and all(0 <= count <= _MOST for count in counts)
    if usage.unmeasured_requests or not believable:
        return None
    return RequestUsage(
        input_tokens=math.ceil(max(given, read + written)),  # which are part of it
        output_tokens=math.ceil(taken),
        cache_read_tokens=math.ceil(read),
        cache_write_tokens=math.ceil(written),
        output_reasoning_tokens=math.ceil(reasoning),
    )
