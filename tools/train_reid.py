#!/usr/bin/env python
"""Train a network and evaluate it: reid-dcs train.

python tools/train_reid.py
python tools/train_reid.py --config-file configs/market1501/mobilenetv2_dcs.yaml --root DIR
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
