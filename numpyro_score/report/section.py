"""Parts of a page, as its templates take them."""

from typing import NamedTuple

from numpyro_score.report.pictures import Picture
from numpyro_score.report.words import Remark


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


class Section(NamedTuple):
    """One diagnostic on the page.

    Attributes
    ----------
    anchor, title
        Its name in links, and its heading.
    lead
        The question that it answers.
    remarks
        The answer.
    tables, pictures
        What that rests on.
    notes
        What could not be computed and why, and how numbers are meant.
    """

    anchor: str
    title: str
    lead: str
    remarks: list[Remark]
    tables: list[Table]
    pictures: list[Picture]
    notes: list[str]
