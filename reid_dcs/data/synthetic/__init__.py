"""Synthetic pedestrians: identities, drawing, and cameras.

``person`` samples identities. ``figure`` poses a body and projects it to polygons, ``cloth`` fills
polygons with fabric, ``painting`` draws a whole person with both. ``scenes`` draws backgrounds and
obstacles, ``cameras`` renders the image of a person in a scene.
"""

from reid_dcs.data.synthetic.cameras import CAMERAS, Camera, photograph
from reid_dcs.data.synthetic.painting import draw_person
from reid_dcs.data.synthetic.person import Person, sample_person

__all__ = ["CAMERAS", "Camera", "Person", "draw_person", "photograph", "sample_person"]
