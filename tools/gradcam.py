#!/usr/bin/env python
"""Grad-CAM, Figure 3: where networks see a person, a row an image, a column a network.

python tools/gradcam.py --weights A.pt --weights B.pt --images FOLDER --output-dir OUT
python tools/gradcam.py --weights A.pt --images a.jpg b.jpg --pair c.jpg --output-dir OUT

OUT receives gradcam-PAGE.png and, at the layer's resolution, maps/IMAGE.NETWORK.npy.
"""

from reid_dcs.cli import PictureCommand
from reid_dcs.visual import compare

if __name__ == "__main__":
    parser = PictureCommand("Grad-CAM: where networks see a person.")
    parser.add_argument(
        "--identity", type=int, help="number in training; by default the one that is named"
    )
    parser.add_argument("--pair", metavar="IMAGE", help="explain the similarity to this image")
    parser.add_argument(
        "--layer", default="", help="name of a module; by default the last that gives a map"
    )
    parser.run(compare.gradcam)
