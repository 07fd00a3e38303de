#!/usr/bin/env python
"""Export a trained network: an ONNX graph, checked against PyTorch, or safetensors.

python tools/export.py --weights mobilenetv2_dcs_synthetic
python tools/export.py --weights mobilenetv2_dcs_synthetic --output model.onnx --preprocess
python tools/export.py --weights outputs/synthetic/mobilenetv2_dcs/checkpoint.pt --output-dir OUT
python tools/export.py --weights checkpoint.pt --output small.safetensors
"""

import argparse
from pathlib import Path

from reid_dcs.cli import Parser
from reid_dcs.inference.export import export


def run(given: argparse.Namespace) -> None:
    output = given.output or given.output_dir or Path()
    path, apart = export(given.weights, output, given.model, given.images, given.preprocess)
    print(f"{path}: {apart}")


if __name__ == "__main__":
    parser = Parser("Export a trained network.")
    parser.add_argument("--weights", required=True, help="checkpoint, or a name of the model zoo")
    parser.add_argument("--model", help="architecture, if the weights do not say it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, metavar="FILE", help="ends in .onnx or .safetensors")
    where.add_argument("--output-dir", type=Path, metavar="DIR", help="for <model>.onnx; or here")
    parser.add_argument("--images", type=Path, metavar="DIR", help="images to check the graph on")
    parser.add_argument(
        "--preprocess", action="store_true", help="take uint8 (B, H, W, 3), RGB; normalize inside"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    given = parser.parse_args()
    parser.carry_out(lambda: run(given), given.debug)
