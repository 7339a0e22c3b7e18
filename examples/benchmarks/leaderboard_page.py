"""What the rows of the leaderboard say: the table, how often ours is the best, and the picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

OURS = ("default", "mala", "mams", "global_local", "parallel_tempering", "tempered_smc")

NEAR = 1.1
"""Ratio of costs up to which a sampler is as good as the best."""

Rows = Sequence[Mapping[str, Any]]


def _of(rows: Rows, target: str, sampler: str) -> list[Mapping[str, Any]]:
    return [r for r in rows if (r["target"], r["sampler"]) == (target, sampler)]


def targets_of(rows: Rows) -> list[str]:
    """The targets, in the order in which they were made."""
    return list(dict.fromkeys(row["target"] for row in rows))


def costs(rows: Rows, target: str) -> dict[str, float]:
    """Median cost to pass of the samplers that passed with all their seeds."""
    found = {}
    for sampler in dict.fromkeys(row["sampler"] for row in rows if row["target"] == target):
        mine = _of(rows, target, sampler)
        if all(r["passed"] for r in mine):
            found[sampler] = float(np.median([r["cost_to_pass"] for r in mine]))
    return found


def thousands(value: float) -> str:
    """A cost in thousands of evaluations."""
    return f"{value / 1e3:,.0f}" if value >= 1e4 else f"{value / 1e3:.1f}"


def _cell(mine: Rows) -> str:
    good = [r["cost_to_pass"] for r in mine if r["passed"]]
    if not mine:
        return ""
    if not good:
        return f"0/{len(mine)}" + ", warned" * all(r.get("warned") for r in mine)
    ends = f" ({thousands(min(good))}–{thousands(max(good))})" if len(good) > 1 else ""
    return f"{len(good)}/{len(mine)}: {thousands(float(np.median(good)))}{ends}"


def table(rows: Rows, samplers: Sequence[str]) -> list[str]:
    """In Markdown: of each target and sampler the seeds that passed, and their cost.

    Parameters
    ----------
    rows
        As the leaderboard writes them.
    samplers
        In the order of the columns; those without a row are left out.
    """
    used = [name for name in samplers if any(row["sampler"] == name for row in rows)]
    lines = ["| target | " + " | ".join(f"`{name}`" for name in used) + " |"]
    lines.append("|---" * (len(used) + 1) + "|")
    for target in targets_of(rows):
        found = costs(rows, target)
        best = min(found, key=lambda name: found[name]) if found else None
        cells = [_cell(_of(rows, target, name)) for name in used]
        marked = [f"**{c}**" if n == best else c for n, c in zip(used, cells, strict=True)]
        lines.append(f"| {target} | " + " | ".join(marked) + " |")
    return lines


def standing(rows: Rows) -> list[str]:
    """On how many targets one of ours, and the default call, is the best or near it."""
    names = [name for name in targets_of(rows) if costs(rows, name)]
    num_seeds = len({row["seed"] for row in rows})
    lines = [
        f"{len(rows)} rows on {len(targets_of(rows))} targets, "
        f"{num_seeds} {'seed' if num_seeds == 1 else 'seeds'}; "
        f"on {len(names)} targets some sampler passed with all its seeds."
    ]
    for who, mine in (("the best of ours", OURS), ("the default call", ("default",))):
        near = first = passing = 0
        for name in names:
            found = costs(rows, name)
            best = min(found.values())
            own = min((found[n] for n in mine if n in found), default=np.inf)
            first += own <= best
            near += own <= NEAR * best
            passing += np.isfinite(own)
        lines.append(
            f"Of these, {who} passes on {passing}, is the cheapest on {first}, and costs at most "
            f"10% more than the cheapest on {near}."
        )
    return lines


def draw(rows: Rows, samplers: Sequence[str], path: Path) -> None:
    """A picture: targets by cost to pass, failures at the right edge.

    Parameters
    ----------
    rows, samplers
        As for `table`.
    path
        A PNG or SVG file.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = targets_of(rows)
    used = [name for name in samplers if any(row["sampler"] == name for row in rows)]
    figure, axis = plt.subplots(figsize=(9, 0.42 * len(names) + 1.6))
    edge = 1.6 * max(row["budget"] for row in rows)
    colors = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    for i, sampler in enumerate(used):
        shift = 0.7 * (i / max(len(used) - 1, 1) - 0.5)
        marker = "o" if sampler in OURS else "s"
        color = colors[i % len(colors)]
        axis.plot([], [], marker, color=color, label=sampler, markersize=5)
        for place, target in enumerate(names):
            for row in _of(rows, target, sampler):
                x = row["cost_to_pass"] if row["passed"] else edge
                kind = marker if row["passed"] else "x"
                axis.plot(x, place + shift, kind, color=color, markersize=5)
    axis.axvline(edge / 1.3, color="grey", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel("evaluations until the gate is passed; crosses: not within the budget")
    axis.grid(axis="y", alpha=0.2)
    axis.legend(fontsize=8, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


BEGIN, END = "<!-- made by leaderboard.py -->", "<!-- end -->"


def write(rows: Rows, samplers: Sequence[str], page: Path, picture: Path) -> None:
    """Put table and picture into a page, between the two comments that mark their place.

    Parameters
    ----------
    rows, samplers
        As for `table`.
    page
        A Markdown file with `BEGIN` and `END`.
    picture
        Where the picture is written, below the folder of the page.
    """
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{page} has no place for the table: {BEGIN} and {END}")
    draw(rows, samplers, picture)
    where = picture.relative_to(page.parent)
    parts = [
        BEGIN,
        " ".join(standing(rows)),
        f"![Cost to pass the gate of every target and sampler]({where})",
        "\n".join(table(rows, samplers)),
        END,
    ]
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(before + "\n\n".join(parts) + after)
