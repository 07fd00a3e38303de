#!/usr/bin/env python
"""What attention selects: affinities of positions (Figure 1), or windows on channels.

python tools/channels.py affinity --weights SA.pt --weights DCS.pt --images a.jpg \\
    --at 30,40 --output-dir OUT
python tools/channels.py windows --weights DCS.pt --images FOLDER --output-dir OUT

OUT receives affinity-PAGE.png, a page an image; or windows-PAGE.png and channels-NETWORK.png.
"""

from reid_dcs.cli import PictureCommand
from reid_dcs.visual import compare


def pixel(text: str) -> tuple[int, int]:
    x, y = map(int, text.split(","))
    return x, y


def cells(text: str) -> tuple[int, int]:
    rows, columns = map(int, text.split("x"))
    if rows < 1 or columns < 1:
        raise ValueError
    return rows, columns


if __name__ == "__main__":
    parser = PictureCommand("What attention selects.")
    parser.add_argument("what", choices=("affinity", "windows"))
    parser.add_argument(
        "--at", type=pixel, action="append", metavar="X,Y", help="a query, in pixels of the image"
    )
    parser.add_argument(
        "--grid", type=cells, metavar="ROWSxCOLUMNS", help="queries spread over the image; 4x2"
    )

    def see(what: str, at: list | None, grid: tuple | None, **given: object) -> None:
        if what == "windows":
            if at or grid:
                parser.error("--at and --grid are for affinity")
            compare.windows(**given)
        else:
            compare.affinity(**given, at=at or (), grid=grid or compare.GRID)

    parser.run(see)
