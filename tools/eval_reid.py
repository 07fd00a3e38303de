#!/usr/bin/env python
"""Evaluate trained weights (mAP, rank-1, rank-5, rank-10, mINP): reid-dcs eval.

python tools/eval_reid.py --weights mobilenetv2_dcs_synthetic
python tools/eval_reid.py --weights outputs/synthetic/mobilenetv2_dcs/checkpoint.pt
python tools/eval_reid.py --weights FILE --dataset msmt17 --root DIR --output-dir OUT --ranks 10
python tools/eval_reid.py --weights FILE --output-dir OUT --report
python tools/eval_reid.py --model osnet_x0_25 --weights FILE --dataset market1501 --root DIR
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["eval", *sys.argv[1:]])
