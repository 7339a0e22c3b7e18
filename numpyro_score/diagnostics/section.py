"""What a diagnostic has to show, as data: tables, notes, and charts that the report draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from numpyro_score.diagnostics.formatting import NOTHING, count

MAX_ROWS = 20
"""Rows of a table, the worst first."""


def left_out(num_rows: int, num_all: int, what: str) -> str:
    """That a table does not list all, or nothing.

    Examples
    --------
    >>> left_out(20, 31, "parameters")
    'The 20 least reliable of 31 parameters are listed.'
    """
    if num_rows >= num_all:
        return ""
    return f"The {num_rows} least reliable of {count(num_all)} {what} are listed."


def p_value(value: float) -> str:
    """A p-value as a table shows it.

    Examples
    --------
    >>> p_value(0.0001), p_value(0.25), p_value(float("nan"))
    ('< 0.001', '0.250', '–')
    """
    return NOTHING if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


class Cell(NamedTuple):
    """One cell of a table.

    Attributes
    ----------
    text
        What it says.
    css_class
        "bad" where it is beyond a limit, else empty.
    """

    text: str
    css_class: str = ""


class Table(NamedTuple):
    """A table.

    Attributes
    ----------
    title
        What is in it.
    headings
        `(text, meaning)` of each column.
    rows
        Cells of each row; the first names it.
    note
        What is left out, or nothing.
    """

    title: str
    headings: list[tuple[str, str]]
    rows: list[list[Cell]]
    note: str = ""


class ErrorChart(NamedTuple):
    """Errors in standard errors, each a line from zero, with the band that chance explains.

    Attributes
    ----------
    title, caption
        Its name, and how to read it.
    labels, values
        Of each line, the largest error first.
    limit
        Half width of the band.
    """

    title: str
    caption: str
    labels: Sequence[str]
    values: Sequence[float]
    limit: float


class Section(NamedTuple):
    """What a page shows of one diagnostic, besides its findings.

    Attributes
    ----------
    title
        Its heading.
    lead
        The question that it answers.
    tables, charts
        What the answer rests on.
    notes
        What could not be computed and why, and how numbers are to be read.
    """

    title: str
    lead: str
    tables: list[Table]
    notes: list[str]
    charts: Sequence[ErrorChart] = ()


class Column(NamedTuple):
    """One column of a comparison's table, as the page shows it.

    Attributes
    ----------
    heading
        Its name and unit.
    meaning
        What it is, in a sentence.
    cell
        Row of the table, with `ess_needed` -> cell.
    """

    heading: str
    meaning: str
    cell: Callable[[Mapping[str, Any]], Cell]


class Columns(NamedTuple):
    """What a diagnostic adds to the table of a comparison.

    Attributes
    ----------
    names
        Columns of the table.
    values
        Result -> number by name.
    shown
        Columns of the page, made of those.
    """

    names: tuple[str, ...]
    values: Callable[[Any], Mapping[str, float | int]]
    shown: tuple[Column, ...]


NO_COLUMNS = Columns((), lambda _: {}, ())
"""Of a diagnostic that adds nothing to a comparison."""
