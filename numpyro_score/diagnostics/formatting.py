"""Numbers and lists in sentences and tables: three digits, thousands marked, a dash for NaN."""

import math
from collections.abc import Iterable

NOTHING = "–"


def number(value: float | int | None, digits: int = 3) -> str:
    """A number with about so many digits, never in scientific notation short of a billion.

    Parameters
    ----------
    value
        Any number; None and NaN are shown as a dash.
    digits
        Significant digits of what is not a whole number.

    Examples
    --------
    >>> [number(x) for x in (0.012345, 1.5, 12345.6, float("inf"), float("nan"), 0.0)]
    ['0.0123', '1.5', '12,346', '∞', '–', '0']
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 9 or size < -5:
        return f"{value:.{digits - 1}e}"
    text = f"{value:,.{max(digits - 1 - size, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rhat(value: float | int) -> str:
    """R-hat, with one digit more than its limit.

    Parameters
    ----------
    value
        At least about 1.

    Examples
    --------
    >>> rhat(1.00234), rhat(float("nan")), rhat(12.3456), rhat(1e16)
    ('1.002', '–', '12.3', 'over 100')
    """
    if value > 100:
        return "over 100"
    return f"{value:.3f}" if value < 10 else number(value)


def count(value: float | int | None) -> str:
    """A count, in thousands or millions where it is large.

    Parameters
    ----------
    value
        Whole, or NaN.

    Examples
    --------
    >>> count(987), count(24_000), count(1_234_567), count(float("nan"))
    ('987', '24 k', '1.23 M', '–')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if value < 10_000:
        return f"{value:,.0f}"
    if value < 999_500:
        return f"{number(value / 1e3)} k"
    return f"{number(value / 1e6)} M"


def percent(value: float | int | None) -> str:
    """A share as a percentage.

    Parameters
    ----------
    value
        Between 0 and 1, or NaN.

    Examples
    --------
    >>> percent(0.5), percent(float("nan"))
    ('50%', '–')
    """
    return NOTHING if value is None or math.isnan(value) else f"{100 * value:.0f}%"


def times(value: float | int) -> str:
    """A ratio in words.

    Parameters
    ----------
    value
        A ratio.

    Examples
    --------
    >>> times(1.04), times(3.14159), times(127.3)
    ('1.0 times', '3.1 times', '130 times')
    """
    if value < 10:
        return f"{value:.1f} times"
    return f"{float(f'{value:.2g}'):,.0f} times"


def listed(names: Iterable[object], most: int = 3) -> str:
    """Names as a list in a sentence, of which a bounded number is written out.

    Parameters
    ----------
    names
        At least one.
    most
        How many are written out.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcd"), most=2)
    ('a', 'a, b and c', 'a, b and 2 more')
    """
    texts = [str(name) for name in names]
    if len(texts) > most:
        texts = [*texts[:most], f"{len(texts) - most} more"]
    if len(texts) == 1:
        return texts[0]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"
