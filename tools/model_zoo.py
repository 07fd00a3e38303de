#!/usr/bin/env python
"""Trained weights by name: reid-dcs zoo.

python tools/model_zoo.py list
python tools/model_zoo.py download mobilenetv2_dcs_synthetic
python tools/model_zoo.py verify

verify exits with status 1 if a file is damaged.
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["zoo", *sys.argv[1:]])
