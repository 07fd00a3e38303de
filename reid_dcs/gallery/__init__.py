"""Gallery search: people found in a collection of pictures."""

from reid_dcs.gallery.gallery import Gallery
from reid_dcs.gallery.pictures import Hit, Picture

__all__ = ["Gallery", "Hit", "Picture"]
