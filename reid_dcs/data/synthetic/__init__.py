"""Synthetic pedestrians: who they are, how they are drawn, and which camera sees them."""

from reid_dcs.data.synthetic.cameras import CAMERAS, Camera, photograph
from reid_dcs.data.synthetic.painting import draw_person
from reid_dcs.data.synthetic.person import Person, sample_person

__all__ = ["CAMERAS", "Camera", "Person", "draw_person", "photograph", "sample_person"]
