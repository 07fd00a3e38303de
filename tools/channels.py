#!/usr/bin/env python
"""Affinities (Figure 1) and channel windows: reid-dcs channels.

python tools/channels.py affinity --weights SA.pt --weights DCS.pt --images a.jpg \\
    --at 30,40 --output-dir OUT
python tools/channels.py windows --weights DCS.pt --images FOLDER --output-dir OUT

OUT receives affinity-PAGE.png, a page per image; or windows-PAGE.png and channels-NETWORK.png.
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["channels", *sys.argv[1:]])
