#!/usr/bin/env python
"""Search the channels of a network (Algorithm 1), train and evaluate the result: reid-dcs search.

python tools/search_reid.py
python tools/search_reid.py --config-file configs/market1501/mobilenetv2_dcs.yaml \\
    --config-file configs/recipes/paper.yaml --root DIR
python tools/search_reid.py --config-file configs/ablation/table7.yaml \\
    --config-file configs/ablation/table7_small.yaml
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["search", *sys.argv[1:]])
