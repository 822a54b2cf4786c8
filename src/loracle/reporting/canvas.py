"""Matplotlib figures as inline SVG that follows the page: its fonts, its colours, light and dark.

A colour here is a placeholder that leaves as a CSS variable, and text leaves as text. Nothing global is touched:
no pyplot, and the few settings that the SVG writer reads are set for the time of writing alone.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loracle.reporting import figures

INK, MUTED, LINE, ACCENT, BAND = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", BAND: "--band"}
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "loracle", "font.family": ["DejaVu Sans"], "path.simplify": True}
_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True, kw_only=True)
class Size:
    """A picture's size in pixels, its font, and how many letters of a name it has room for."""

    name: str
    width: float
    font: float
    letters: int

    @property
    def narrow(self) -> bool:
        """Whether this is the picture for a phone."""
        return self.name == "narrow"


WIDE = Size(name="wide", width=880, font=13, letters=26)
NARROW = Size(name="narrow", width=350, font=12, letters=18)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One plot, drawn for a wide and for a narrow page; `description` is for those who do not see it."""

    wide: str
    narrow: str
    description: str


def empty_figure(size: Size, height: float) -> Any:
    """Return a transparent figure of `size.width` x `height` pixels."""
    from matplotlib.figure import Figure

    points = (size.width / 72, height / 72)
    layout: Any = "none"  # whatever the user has set; the types of matplotlib lack it
    return Figure(figsize=points, dpi=72, facecolor="none", edgecolor="none", layout=layout)


def add_axes(figure: Any, *, left: float, top: float, width: float, height: float, font: float) -> Any:
    """Return bare axes at a place in pixels, counted from the upper left corner."""
    full_width, full_height = figure.get_size_inches() * 72
    bottom = full_height - top - height
    place = (left / full_width, bottom / full_height, width / full_width, height / full_height)
    axes = figure.add_axes(place, facecolor="none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=LINE, linewidth=1)
    axes.tick_params(length=0, pad=6, labelsize=font, labelcolor=MUTED)
    axes.set_axisbelow(True)
    return axes


def write(axes: Any, place: tuple[float, float], text: str, *, size: Size, colour: str = INK, **style: Any) -> None:
    """Write plain text (never a formula) at a place in data coordinates, or where `transform` says."""
    axes.text(*place, figures.plain(text), color=colour, fontsize=size.font, parse_math=False, **style)


def below(axes: Any, pixels: float) -> Any:
    """Return the transform of axes coordinates moved down by so many pixels."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transAxes + ScaledTranslation(0, -pixels / 72, axes.figure.dpi_scale_trans)


def moved(axes: Any, x: float, y: float, *, right: float = 0.0, up: float = 0.0) -> tuple[float, float]:
    """Return the place in data coordinates that lies so many pixels from (x, y)."""
    across, along = axes.transData.transform((x, y))
    moved_x, moved_y = axes.transData.inverted().transform((across + right, along + up))
    return float(moved_x), float(moved_y)


def render_svg(figure: Any, name: str) -> str:
    """Return the figure as an `<svg>` element whose ids begin with `name`; the same figure gives the same text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with warnings.catch_warnings(), rc_context(_SETTINGS):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser has other fonts
        FigureCanvasSVG(figure).print_svg(buffer, metadata=_METADATA)
    return _for_the_page(buffer.getvalue(), name)


def _for_the_page(text: str, name: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", lambda tag: _tag_for_the_page(tag[0]), _own_ids(text, name))
    return re.sub(r">\s+<", "><", text).strip()


def _tag_for_the_page(tag: str) -> str:
    """Rewrite one tag; what stands between tags is text that somebody may have chosen to look like one."""
    tag = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", tag).replace("xlink:href", "href")
    if tag.startswith("<svg"):
        tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    tag = re.sub(r"font: (bold )?(?:\d+ )?([\d.]+)px [^;\"]*", _font_style, tag)
    tag = re.sub(r"font-family: [^;\"]*; ", "", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var({variable})")
    return tag


def _font_style(match: re.Match[str]) -> str:
    weight = "font-weight: 650; " if match[1] else ""
    return f"{weight}font-size: {match[2]}px"


def _own_ids(text: str, name: str) -> str:
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    names: Mapping[str, str] = {old: f"{name}-{position}" for position, old in enumerate(sorted(used))}

    def renamed(match: re.Match[str]) -> str:
        return f' id="{names[match[1]]}"' if match[1] in names else ""

    text = re.sub(r' id="([^"]*)"', renamed, text)
    for old, new in names.items():
        text = text.replace(f'"#{old}"', f'"#{new}"').replace(f"url(#{old})", f"url(#{new})")
    return text
