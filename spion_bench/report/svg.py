"""Figures as SVG that suits a light and a dark page: text and axes take the page's text colour.

Matplotlib draws text and lines in sentinel colours; afterwards these become ``currentColor`` and a
CSS variable, fonts become the page's, and ids get the figure's name as prefix, so that many figures
can stand in one page. The same SVG as a file carries a style that follows the viewer's preference.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as MplFigure

INK = "#010203"
"""Sentinel of everything that takes the page's text colour."""

GRID = "#040506"
"""Sentinel of grid lines, which take the page's ``--grid`` colour."""

PAPER = "#070809"
"""Sentinel of what covers lines behind a label: the page's ``--page`` colour, nothing in a file."""

# Okabe and Ito's palette, which stays distinct under the common colour-vision deficiencies.
METHOD_COLOURS = {
    "dense_sdpa": "#0072b2",
    "dense_eager": "#56b4e9",
    "spion_c": "#e69f00",
    "spion_f": "#009e73",
    "spion_cf": "#d55e00",
    "longformer": "#cc79a7",
    "bigbird": "#8c564b",
    "reformer": "#7f7f7f",
}
OTHER_COLOUR = "#b8a13a"

# Subjects of the kernel page, which shows no training method; dense attention keeps its colour.
KERNEL_COLOURS = {
    "block_attention": "#d55e00",
    "block_attention_float32": "#d55e00",
    "pipeline": "#e69f00",
    "flex_forward": "#009e73",
    "sgemm": INK,
}

# Shape tells methods apart where colour does not reach.
METHOD_MARKERS = {
    "dense_sdpa": "o",
    "dense_eager": "s",
    "spion_c": "^",
    "spion_f": "v",
    "spion_cf": "D",
    "longformer": "P",
    "bigbird": "p",
    "reformer": "h",
}
OTHER_MARKER = "X"

KERNEL_MARKERS = {
    "block_attention": "D",
    "block_attention_float32": "d",
    "pipeline": "^",
    "flex_forward": "v",
    "sgemm": "_",
}

# Any, because releases of matplotlib type the keys differently.
_STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
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


def method_colour(method: str) -> str:
    """Return the colour that a method has in every figure; its variants (``@...``) share it."""
    return (METHOD_COLOURS | KERNEL_COLOURS).get(method.partition("@")[0], OTHER_COLOUR)


def method_marker(method: str) -> str:
    """Return the marker that a method has in every figure; its variants (``@...``) share it."""
    return (METHOD_MARKERS | KERNEL_MARKERS).get(method.partition("@")[0], OTHER_MARKER)


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
