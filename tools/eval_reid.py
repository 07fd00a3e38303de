#!/usr/bin/env python
"""Evaluate a checkpoint: mAP, rank-1, rank-5, rank-10, mINP.

python tools/eval_reid.py --weights mobilenetv2_dcs_synthetic
python tools/eval_reid.py --weights outputs/synthetic/mobilenetv2_dcs/checkpoint.pt
python tools/eval_reid.py --weights FILE --dataset msmt17 --root DIR --output-dir OUT --ranks 10
python tools/eval_reid.py --weights FILE --output-dir OUT --report
python tools/eval_reid.py --model osnet_x0_25 --weights FILE --dataset market1501 --root DIR
"""

from reid_dcs import runs
from reid_dcs.cli import Command

if __name__ == "__main__":
    weights = ("--weights", "eval.weights", "checkpoint, or a name of the model zoo")
    ranks = ("--ranks", "eval.ranks", "draw lists of that many ranks into OUTPUT_DIR/ranks.png")
    report = ("--report", "eval.report", "write all of it on one page, OUTPUT_DIR/report.html")
    command = Command("Evaluate a checkpoint.", short=[weights, ranks], switches=[report])
    command.run(runs.evaluate)
