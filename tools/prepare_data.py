#!/usr/bin/env python
"""Check a data set, or decode it once for data.mapped=true: reid-dcs data.

python tools/prepare_data.py check market1501 --root DIR
python tools/prepare_data.py store market1501 --root DIR data.height=256 data.width=128

The status of a check is 0 without findings and 1 with some.
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["data", *sys.argv[1:]])
