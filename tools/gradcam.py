#!/usr/bin/env python
"""Grad-CAM (Figure 3), a row per image, a column per network: reid-dcs gradcam.

python tools/gradcam.py --weights A.pt --weights B.pt --images FOLDER --output-dir OUT
python tools/gradcam.py --weights A.pt --images a.jpg b.jpg --pair c.jpg --output-dir OUT

OUT receives gradcam-PAGE.png and, at the resolution of the layer, maps/IMAGE.NETWORK.npy.
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["gradcam", *sys.argv[1:]])
