#!/usr/bin/env python
"""Train a network and evaluate it.

python tools/train_reid.py
python tools/train_reid.py --config-file configs/market1501/mobilenetv2_dcs.yaml --root DIR
"""

from reid_dcs import runs
from reid_dcs.cli import Command

if __name__ == "__main__":
    Command("Train a re-identification network and evaluate it.").run(runs.train)
