#!/usr/bin/env python
"""Affinities (Figure 1), channel windows, and what these are worth: reid-dcs channels.

python tools/channels.py affinity --weights SA.pt --weights DCS.pt --images a.jpg \\
    --at 30,40 --output-dir OUT
python tools/channels.py windows --weights DCS.pt --images FOLDER --output-dir OUT
python tools/channels.py worth --weights DCS.pt --root DIR --output-dir OUT

OUT receives affinity-PAGE.png, a page per image; windows-PAGE.png and channels-NETWORK.png; or
worth.json, the metrics of evaluations with other windows.
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["channels", *sys.argv[1:]])
