"""A drawing of boxes, arrows and words as SVG text, the same bytes each time."""

from dataclasses import dataclass, field
from html import escape

INK = "#343a40"
FROZEN = "#dbe4ee"
TRAINED = "#ffd8a8"
GOOD = "#d3f9d8"
BAD = "#ffc9c9"
PLAIN = "#ffffff"
_FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass
class Drawing:
    """A picture of a given size in pixels; what is drawn later lies above.

    Attributes:
        width: of the picture.
        height: of the picture.
        title: what a reader who can't see it is told.
    """

    width: int
    height: int
    title: str
    _parts: list[str] = field(default_factory=list)

    def box(self, x: int, y: int, size: tuple[int, int], text: str, fill: str = PLAIN) -> None:
        """A box with its upper left corner at (x, y); a line of text for each line of `text`."""
        width, height = size
        self._parts.append(
            f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='6' "
            f"fill='{fill}' stroke='{INK}'/>"
        )
        lines = text.split("\n")
        top = y + height / 2 - 8 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            self.text(x + width // 2, round(top + 16 * number), line)

    def text(self, x: int, y: int, text: str, anchor: str = "middle", size: int = 13) -> None:
        """A line of text that stands on y; `anchor` is start, middle or end."""
        self._parts.append(
            f"<text x='{x}' y='{y}' text-anchor='{anchor}' font-size='{size}' {_FONT} "
            f"fill='{INK}'>{escape(text)}</text>"
        )

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """A line through the points that ends in an arrow head."""
        self._line(points, dashed, " marker-end='url(#head)'", INK)

    def line(
        self, *points: tuple[int, int], dashed: bool = False, ink: str = INK, width: int = 1
    ) -> None:
        """A line through the points."""
        self._line(points, dashed, f" stroke-width='{width}'", ink)

    def circle(self, x: int, y: int, text: str) -> None:
        """A circle with a sign in it, such as that of a sum."""
        self._parts.append(f"<circle cx='{x}' cy='{y}' r='10' fill='{PLAIN}' stroke='{INK}'/>")
        self.text(x, y + 5, text)

    def svg(self) -> str:
        """The whole picture."""
        head = (
            "<marker id='head' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='8' "
            f"markerHeight='8' orient='auto'><path d='M0 0 L8 4 L0 8 z' fill='{INK}'/></marker>"
        )
        return "\n".join(
            [
                f"<svg xmlns='http://www.w3.org/2000/svg' width='{self.width}' "
                f"height='{self.height}' viewBox='0 0 {self.width} {self.height}' role='img'>",
                f"<title>{escape(self.title)}</title>",
                f"<defs>{head}</defs>",
                # A page may be dark.
                "<rect width='100%' height='100%' rx='8' fill='#ffffff'/>",
                *self._parts,
                "</svg>\n",
            ]
        )

    def _line(self, points: tuple[tuple[int, int], ...], dashed: bool, more: str, ink: str) -> None:
        path = " ".join(f"{x},{y}" for x, y in points)
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self._parts.append(f"<polyline points='{path}' fill='none' stroke='{ink}'{dash}{more}/>")
