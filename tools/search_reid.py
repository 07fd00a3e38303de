#!/usr/bin/env python
"""Search the channels of a network (Algorithm 1), train what was found, and evaluate it.

python tools/search_reid.py
python tools/search_reid.py --config-file configs/market1501/mobilenetv2_dcs.yaml \\
    --config-file configs/recipes/paper.yaml --root DIR
python tools/search_reid.py --config-file configs/ablation/table7.yaml
"""

from reid_dcs import runs
from reid_dcs.cli import Command

if __name__ == "__main__":
    Command("Search a network's channels, train it and evaluate it.").run(runs.search)
