"""How figures look: a colour and a marker per method, and SVG for a light and a dark page.

Matplotlib draws text and lines in sentinel colours; afterwards these become ``currentColor`` and a
CSS variable, fonts become the page's, and ids get the figure's name as prefix, so many figures can
stand in one page. The same SVG as a file carries a style that follows the viewer's preference.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as MplFigure

from spion_bench.records import MethodInfo
from spion_bench.records.cell import Family
from spion_bench.report.methods import CHAMPION, FAMILIES, rank

INK = "#010203"
"""Sentinel of everything that takes the page's text colour."""

GRID = "#040506"
"""Sentinel of grid lines, which take the page's ``--grid`` colour."""

PAPER = "#070809"
"""Sentinel of what covers lines behind a label: the page's ``--page`` colour, nothing in a file."""

GREY = "#8a929b"
"""What says nothing about attention; readable on a light and on a dark page."""

_OF_METHOD = "method:"

# Hues of Okabe and Ito's palette, which stays distinct under the common colour-vision deficiencies.
HUES: dict[Family, str] = {
    "dense": "#0072b2",
    "spion": "#d55e00",
    "sparse": "#009e73",
    "low_rank": "#cc79a7",
    "hashing": "#8c564b",
    "control": "#7f7f7f",
    "shortcut": "#a0a0a0",
    "operator": "#b8a13a",
    "limit": INK,
}
# Shades of a family's hue: how far towards white (above 0) or black (below 0). Five shades and
# eleven markers give 55 different looks within a family.
_SHADES = (0.0, 0.5, -0.4, 0.25, -0.2)
_MARKERS = ("D", "o", "^", "s", "v", "P", "p", "h", "X", "<", ">")

# Any, because releases of matplotlib type the keys differently.
_STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "spion_bench",
    "text.color": INK,
    "text.parse_math": False,  # texts come from records
    "xtick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.color": INK,
    "ytick.major.width": 0.7,
}

_FONTS = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
_PAGE = "var(--page, none)"
_FILE_STYLE = (
    "<style>svg{color:#1b1f24;--grid:#d9dde2}"
    "@media (prefers-color-scheme: dark){svg{color:#e4e7eb;--grid:#3a4149}}</style>"
)


@dataclass(frozen=True)
class Look:
    """How a method is drawn: markers separate methods where colour does not reach."""

    colour: str
    marker: str


def looks_of(methods: Iterable[MethodInfo]) -> dict[str, Look]:
    """Return how each method is drawn: its family's hue, in a shade and a marker of its own.

    The same methods get the same looks whatever was measured of them. The champion and the
    baseline have the pure hue of their families.
    """
    by_name = {method.name: method for method in methods}
    placed = sorted(by_name.values(), key=lambda m: (m.variant != CHAMPION, rank(m)))
    looks: dict[str, Look] = {}
    of_family = dict.fromkeys(FAMILIES, 0)
    for method in placed:
        place = of_family[method.family]
        of_family[method.family] += 1
        marker = _MARKERS[(place + FAMILIES.index(method.family)) % len(_MARKERS)]
        looks[method.name] = Look(_shade(HUES[method.family], place), marker)
    return looks


def _shade(hue: str, place: int) -> str:
    if hue == INK:
        return hue
    amount = _SHADES[place % len(_SHADES)]
    target = 255 if amount > 0 else 0
    channels = [int(hue[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [round(channel + abs(amount) * (target - channel)) for channel in channels]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def of_method(name: str) -> str:
    """Return the ``gid`` of what a figure draws of a method; a page can hide it."""
    return _OF_METHOD + name


@contextmanager
def new_figure(width: float, height: float) -> Iterator[MplFigure]:
    """Yield an empty figure, ``width`` x ``height`` inches, in the report's style."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield MplFigure(figsize=(width, height), layout="constrained")


def to_svg(figure: MplFigure, name: str) -> str:
    """Return ``figure`` as an ``<svg>`` element for a page; ``name`` makes its ids unique."""
    buffer = io.StringIO()
    metadata: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(rf'\bid="{_OF_METHOD}([^"]*)"', r'data-method="\1"', text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = text.replace(INK, "currentColor").replace(GRID, "var(--grid, #8888)")
    text = text.replace(PAPER, _PAGE)
    text = re.sub(r"('DejaVu Sans'[^;\"]*)", _FONTS, text)
    # A page scales the figure; the viewBox keeps its proportions.
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", text, count=1).replace(
        "<svg ", '<svg aria-hidden="true" ', 1
    )


def as_file(svg: str, stamp: str) -> str:
    """Return the content of an SVG file: ``stamp`` on the first line, colours that adapt."""
    # A file has no page behind it, and a viewer without CSS variables would paint it black.
    plain = svg.replace(_PAGE, "none")
    styled = re.sub(r"(<svg [^>]*>)", rf"\1{_FILE_STYLE}", plain, count=1)
    return f"<!-- {stamp} -->\n{styled}\n"
