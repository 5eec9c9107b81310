"""Draws the figures of docs/concepts.md into docs/concepts; a test compares.

python -m tools.draw_concepts
"""

from pathlib import Path

from tools.svg import BAD, FROZEN, GOOD, TRAINED, Drawing

FOLDER = Path(__file__).parents[1] / "docs" / "concepts"
GROUPS = 3


def _drift() -> Drawing:
    drawing = Drawing(640, 230, "The distance to the source rises above the threshold in fog")
    drawing.line((60, 20), (60, 180), (610, 180))
    drawing.text(335, 215, "frames of the camera")
    drawing.text(70, 25, "distance to the source (MMD²)", anchor="start")
    drawing.line((60, 120), (610, 120), dashed=True)
    drawing.text(605, 112, "threshold", anchor="end")
    heights = (158, 150, 160, 153, 157, 149, 156, 152, 130, 95, 66, 58, 63, 55, 61, 57)
    points = [(80 + 34 * n, height) for n, height in enumerate(heights)]
    drawing.line(*points, ink="#e8590c", width=3)
    drawing.text(195, 198, "clear road")
    drawing.text(490, 198, "fog")
    drawing.arrow((300, 60), (372, 108))
    drawing.text(240, 55, "the drift is noticed")
    return drawing


def _chain(drawing: Drawing, y: int, names: tuple[str, ...], fill: str) -> None:
    """Boxes from left to right with arrows between them, for stem, groups and so on."""
    for number, name in enumerate(names):
        x = 100 + 130 * number
        drawing.box(x, y, (80, 34), name, fill)
        drawing.arrow((x - 50, y + 17), (x, y + 17))


def _patches() -> Drawing:
    drawing = Drawing(700, 220, "A patch stands beside each frozen group of the network")
    _chain(drawing, 50, ("stem", "group 1", "group 2", "group 3"), FROZEN)
    drawing.text(26, 72, "image")
    for number in range(1, GROUPS + 1):
        x = 100 + 130 * number
        drawing.arrow((x - 25, 67), (x - 25, 137), (x, 137))
        drawing.box(x, 120, (80, 34), f"patch {number}", TRAINED)
        drawing.arrow((x + 80, 137), (x + 95, 137), (x + 95, 77))
        drawing.circle(x + 95, 67, "+")
    drawing.arrow((595, 67), (610, 67))
    drawing.box(610, 50, (70, 34), "head", TRAINED)
    drawing.box(100, 180, (20, 20), "", FROZEN)
    drawing.text(128, 195, "frozen", anchor="start")
    drawing.box(200, 180, (20, 20), "", TRAINED)
    drawing.text(228, 195, "trained on the drift", anchor="start")
    return drawing


def _wirings() -> Drawing:
    drawing = Drawing(700, 450, "Side, inline and detached wiring of two patches")
    rows = (
        ("side", "the frozen path sees no patch"),
        ("inline", "the next group reads the sum"),
        ("detached", "as inline, but no gradient goes through the groups"),
    )
    for row, (name, words) in enumerate(rows):
        y = 45 + 135 * row
        drawing.text(15, y - 15, f"{name}: {words}", anchor="start", size=14)
        drawing.box(70, y + 10, (70, 30), "stem", FROZEN)
        for number in (1, 2):
            x = 240 + 210 * (number - 1)
            drawing.box(x, y + 10, (80, 30), f"group {number}", FROZEN)
            drawing.box(x, y + 65, (80, 30), f"patch {number}", TRAINED)
            _wire(drawing, name, x, y)
        if name == "side":
            drawing.arrow((140, y + 25), (240, y + 25), dashed=True)
            drawing.arrow((140, y + 35), (180, y + 35), (180, y + 80), (240, y + 80))
            drawing.arrow((320, y + 18), (450, y + 18), dashed=True)
        else:
            drawing.arrow((140, y + 25), (240, y + 25), dashed=name == "detached")
            drawing.arrow((140, y + 35), (180, y + 35), (180, y + 80), (240, y + 80))
        drawing.arrow((575, y + 52), (620, y + 52))
        drawing.box(620, y + 37, (60, 30), "head", TRAINED)
    drawing.text(15, 440, "dashed: a way that no gradient goes", anchor="start")
    return drawing


def _wire(drawing: Drawing, name: str, x: int, y: int) -> None:
    """The sum behind a group and its patch, and where it goes on to."""
    drawing.arrow((x + 80, y + 30), (x + 110, y + 30), (x + 110, y + 42), dashed=name != "inline")
    drawing.arrow((x + 80, y + 80), (x + 115, y + 80), (x + 115, y + 62))
    drawing.circle(x + 115, y + 52, "+")
    if x > 300:
        return
    drawing.arrow((x + 125, y + 52), (x + 165, y + 52), (x + 165, y + 80), (x + 210, y + 80))
    if name != "side":
        drawing.arrow(
            (x + 165, y + 52), (x + 165, y + 25), (x + 210, y + 25), dashed=name == "detached"
        )


def _bundle() -> Drawing:
    drawing = Drawing(700, 240, "An offline run makes a bundle, and a car starts from it")
    drawing.box(20, 30, (140, 44), "source pictures\nwith labels")
    drawing.box(20, 150, (140, 44), "made drifts: fog,\nnight, rain, ...")
    drawing.box(200, 30, (110, 44), "train\nmodels")
    drawing.box(200, 150, (110, 44), "prepare\npatches")
    drawing.arrow((160, 52), (200, 52))
    drawing.arrow((90, 74), (90, 150))
    drawing.arrow((160, 172), (200, 172))
    drawing.arrow((255, 74), (255, 150))
    drawing.box(350, 20, (190, 190), "", FROZEN)
    drawing.text(445, 42, "the bundle: a folder", size=14)
    parts = (
        "source models",
        "drift reference",
        "prepared patches",
        "label-free gate",
        "patch table",
        "manifest",
    )
    for number, part in enumerate(parts):
        drawing.text(445, 72 + 24 * number, part)
    drawing.arrow((310, 52), (350, 52))
    drawing.arrow((310, 172), (350, 172))
    drawing.box(590, 90, (90, 44), "the car", GOOD)
    drawing.arrow((540, 112), (590, 112))
    return drawing


def _episode() -> Drawing:
    drawing = Drawing(700, 250, "An episode leads from a noticed drift to swapped models")
    steps = (
        ("drift\nnoticed", BAD),
        ("labelled\nframes come", "#ffffff"),
        ("choose frames,\npatches, order", "#ffffff"),
        ("train beside\nperception", TRAINED),
        ("gate on held-\nout frames", GOOD),
    )
    for number, (words, fill) in enumerate(steps):
        x = 15 + 137 * number
        drawing.box(x, 30, (112, 50), words, fill)
        if number:
            drawing.arrow((x - 25, 55), (x, 55))
    drawing.arrow((619, 80), (619, 150), (560, 150))
    drawing.text(628, 120, "better", anchor="start")
    drawing.box(420, 125, (140, 50), "swap between\ntwo frames", GOOD)
    drawing.arrow((420, 150), (360, 150))
    drawing.box(220, 125, (140, 50), "watch the\nnew model")
    drawing.arrow((220, 150), (160, 150))
    drawing.box(20, 125, (140, 50), "take it back\nif it collapses", BAD)
    drawing.text(
        350, 220, "Without labels the prepared patches answer first, in place of steps 2 to 4."
    )
    return drawing


def _gate() -> Drawing:
    drawing = Drawing(640, 240, "The gate accepts what is better by the margin and one error")
    zero, margin = 180, 240
    drawing.line((60, 190), (600, 190))
    drawing.line((zero, 30), (zero, 190), dashed=True)
    drawing.text(zero, 210, "as good as")
    drawing.text(zero, 226, "what runs")
    drawing.line((margin, 30), (margin, 190), dashed=True)
    drawing.text(margin + 8, 210, "margin", anchor="start")
    drawing.text(600, 210, "better", anchor="end")
    rows = (
        (60, 430, 110, "accepted: all of the bar is beyond"),
        (110, 320, 120, "refused: the gain may be chance"),
        (160, 205, 15, "refused: sure, but too little"),
    )
    for y, gain, error, words in rows:
        drawing.line((gain - error, y), (gain + error, y), ink="#1971c2", width=3)
        drawing.circle(gain, y, "")
        drawing.text(max(gain - error, margin) + 25, y - 15, words, anchor="start")
    return drawing


def _bank() -> Drawing:
    drawing = Drawing(700, 230, "A drift that returns finds the patch sets that it left")
    drawing.box(20, 90, (100, 50), "drift\nnoticed", BAD)
    drawing.arrow((120, 115), (170, 115))
    drawing.box(170, 90, (130, 50), "like an earlier\none in the bank?")
    drawing.arrow((300, 105), (340, 105), (340, 55), (380, 55))
    drawing.text(350, 48, "yes", anchor="end")
    drawing.box(380, 30, (130, 50), "verify its\npatch sets", GOOD)
    drawing.arrow((510, 55), (560, 55))
    drawing.box(560, 30, (120, 50), "publish", GOOD)
    drawing.text(535, 48, "hold")
    drawing.arrow((445, 80), (445, 150))
    drawing.text(455, 120, "do not hold", anchor="start")
    drawing.arrow((300, 125), (340, 125), (340, 175), (380, 175))
    drawing.text(350, 195, "no", anchor="end")
    drawing.box(380, 150, (130, 50), "train", TRAINED)
    drawing.arrow((510, 175), (560, 175))
    drawing.box(560, 150, (120, 50), "keep in\nthe bank")
    return drawing


def _labels() -> Drawing:
    drawing = Drawing(700, 250, "Who can label for the car")
    sources = (
        ("a person, in a browser", "patchline watch --label"),
        ("a teacher: a larger bundle", "teacher:=BUNDLE"),
        ("any detector or tool", "labeller:=true"),
    )
    for number, (who, how) in enumerate(sources):
        y = 20 + 60 * number
        drawing.box(20, y, (220, 48), f"{who}\n{how}")
        drawing.arrow((240, y + 24), (330, 104))
    drawing.box(330, 80, (150, 48), "labelled_frames", FROZEN)
    drawing.arrow((480, 104), (540, 104))
    drawing.box(540, 80, (140, 48), "adapter trains", TRAINED)
    drawing.box(20, 200, (220, 34), "nobody")
    drawing.arrow((240, 217), (540, 217))
    drawing.box(540, 193, (140, 48), "prepared patches\nanswer", GOOD)
    return drawing


def figures() -> dict[str, str]:
    """SVG text of each figure, by the name of its file."""
    drawn = {
        "drift": _drift(),
        "patches": _patches(),
        "wirings": _wirings(),
        "bundle": _bundle(),
        "episode": _episode(),
        "gate": _gate(),
        "bank": _bank(),
        "labels": _labels(),
    }
    return {f"{name}.svg": drawing.svg() for name, drawing in drawn.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in figures().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
