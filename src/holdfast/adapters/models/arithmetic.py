"""Sums, worked out exactly and within limits, from an expression in digits or in words."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

_LONGEST = 500
_MOST_BITS = 14_000
_MOST_FACTORIAL = 1_500

Number = int | float


class NoSum(ValueError):
    """What was asked is not a sum, or has no answer; the message says why, for a person."""


def evaluate(expression: str) -> str:
    """The value of `expression` in digits. Raises `NoSum`."""
    if len(expression) > _LONGEST:
        raise NoSum(f"the expression is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(normal(expression), mode="eval")
        return _digits(_value(tree.body))
    except ZeroDivisionError:
        raise NoSum("it divides by zero") from None
    except OverflowError:
        raise NoSum("the result is too large") from None
    except (SyntaxError, TypeError, RecursionError, MemoryError):
        raise NoSum("it is not a sum that I can read") from None
    except ValueError as wrong:
        raise NoSum(str(wrong)) from None


def looks_like_sum(text: str) -> bool:
    """True for text that is nothing but numbers, operators and known functions, and has work."""
    plain = normal(text)
    names = set(re.findall(r"[A-Za-z_]\w*", plain))
    return (
        bool(re.search(r"\d", plain))
        and bool(re.search(r"[-+*/%(]", plain))
        and not re.sub(r"[\w\s.,+\-*/%()]", "", plain)
        and names <= _FUNCTIONS.keys() | _CONSTANTS.keys()
    )


def normal(text: str) -> str:
    """The expression as Python would write it: `15% of 240` becomes `(15/100)*240`."""
    plain = text.strip().rstrip("=?. ").strip()
    if not re.search(r"[a-z]\(", plain):
        plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)
    for pattern, written in _WORDS:
        plain = re.sub(pattern, written, plain, flags=re.IGNORECASE)
    return plain.strip()


_N = r"(\d+(?:\.\d+)?|\([^()]*\))"
_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b(?:the )?square root of\s+" + _N, r"sqrt(\1)"),
    (r"\b(?:the )?factorial of\s+(\d+)", r"factorial(\1)"),
    (r"√\s*" + _N, r"sqrt(\1)"),
    (_N + r"\s*!", r"factorial(\1)"),
    (_N + r"\s*(?:%|percent)\s+of\b", r"(\1/100)*"),
    (r"\bdivided by\b|÷", "/"),
    (r"\b(?:multiplied by|times)\b|[×·]", "*"),  # noqa: RUF001 - people write it so
    (r"(?<=[\d)])\s*x\s*(?=[\d(])", "*"),
    (r"\b(?:raised )?to the power(?: of)?\b", "**"),
    (r"\bsquared\b", "**2"),
    (r"\bcubed\b", "**3"),
    (r"\bplus\b", "+"),
    (r"\bminus\b|[−–]", "-"),  # noqa: RUF001 - people write it so
    (r"\bmod(?:ulo)?\b", "%"),
    (r"\^", "**"),
)


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=bool()):
            raise NoSum("it is not a sum that I can read")
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*map(_value, args)))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case _:
            raise NoSum("it is not a sum that I can read")


def _divide(left: Number, right: Number) -> Number:
    """Exact where it can be: 6/2 is 3, and stays a whole number however long."""
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int):
        if exponent >= 0 and base.bit_length() * exponent > _MOST_BITS:
            raise NoSum("the result is too large")
        return base**exponent
    result: object = base**exponent
    if isinstance(result, complex):
        raise NoSum("the result is not a real number")
    return float(base) ** float(exponent)


def _factorial(number: Number) -> int:
    if not isinstance(number, int) or number > _MOST_FACTORIAL:
        raise NoSum(f"I take factorials of whole numbers up to {_MOST_FACTORIAL}")
    return math.factorial(number)


def _root(number: Number) -> Number:
    if isinstance(number, int) and number >= 0 and math.isqrt(number) ** 2 == number:
        return math.isqrt(number)
    return math.sqrt(number)


def _bounded(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > _MOST_BITS:
        raise NoSum("the result is too large")
    return number


def _digits(number: Number) -> str:
    if isinstance(number, int):
        return str(number)
    if not math.isfinite(number):
        raise NoSum("the result is not a finite number")
    return f"{number:.15g}"


_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "factorial": _factorial,
    "floor": math.floor,
    "gcd": math.gcd,
    "ln": math.log,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": round,
    "sin": math.sin,
    "sqrt": _root,
    "tan": math.tan,
}
_CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}
