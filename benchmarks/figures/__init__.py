"""The figures, in the order of the table. Each module measures one thing beside its baselines.

To add one: a module with `measure(place, quick) -> {contender: {figure: number}}`, named here.
"""

NAMES = (
    "steps",
    "tasks",
    "ready",
    "idle",
    "recovery",
    "start",
    "stop",
    "calls",
    "streams",
    "doors",
    "boxes",
    "gate",
)
