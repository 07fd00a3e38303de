#!/usr/bin/env python
"""Export a trained network as an ONNX graph or as safetensors: reid-dcs export.

python tools/export.py --weights mobilenetv2_dcs_synthetic
python tools/export.py --weights mobilenetv2_dcs_synthetic --output model.onnx --preprocess
python tools/export.py --weights outputs/synthetic/mobilenetv2_dcs/checkpoint.pt --output-dir OUT
python tools/export.py --weights checkpoint.pt --output small.safetensors
"""

import sys

from reid_dcs.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
