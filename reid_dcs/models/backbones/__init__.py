"""Backbones. Importing this package registers their models."""

from reid_dcs.models.backbones import fbnetv2, mobilenetv2, osnet, resnet

__all__ = ["fbnetv2", "mobilenetv2", "osnet", "resnet"]
