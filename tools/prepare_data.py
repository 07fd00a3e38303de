#!/usr/bin/env python
"""Check a data set, or store it decoded for data.mapped=true: reid-dcs data.

python tools/prepare_data.py check market1501 --root DIR
python tools/prepare_data.py store market1501 --root DIR data.height=256 data.width=128

check exits with status 1 if it finds faults.
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["data", *sys.argv[1:]])
