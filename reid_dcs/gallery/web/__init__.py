"""The page of a gallery: search, mark and ask again in a browser."""

from reid_dcs.gallery.web.server import serve

__all__ = ["serve"]
