"""What a camera does to the picture: its scene, its framing, what stands in the way, its light.

Scene, person and obstacle are drawn on a canvas larger than the picture; light, lens and sensor
work on the shrunken picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from reid_dcs.data.synthetic import scenes
from reid_dcs.data.synthetic.painting import draw_person
from reid_dcs.data.synthetic.person import Person
from reid_dcs.data.synthetic.scenes import Stage

SUPERSAMPLING = 3
FRONT, RIGHT, BACK, LEFT = 0.0, np.pi / 2, np.pi, -np.pi / 2
LUMA = (0.30, 0.59, 0.11)


@dataclass(frozen=True)
class Camera:
    """The fixed properties of one camera.

    Attributes:
        name: where it hangs.
        scene, obstacle: what it sees behind the person and, now and then, before the person.
        occlusion: how often the obstacle is there, 0 to 1.
        views: directions in which people usually walk, radians as in ``draw_person``.
        scale: range of a person's height as a share of the picture's.
        gains: white balance in red, green and blue.
        gamma: of the tone curve; above 1 it darkens.
        contrast, saturation: factors.
        blur: standard deviation in pixels of a picture 64 wide.
        noise: standard deviation in grey levels.
    """

    name: str
    scene: Callable[[Stage], None]
    obstacle: Callable[[Stage], None]
    occlusion: float
    views: tuple[float, ...]
    scale: tuple[float, float]
    gains: tuple[float, float, float]
    gamma: float
    contrast: float
    saturation: float
    blur: float
    noise: float


# fmt: off
CAMERAS: tuple[Camera, ...] = (
    Camera("street", scenes.street, scenes.post, 0.12, (RIGHT, LEFT, FRONT), (0.84, 0.93),
           (1.00, 1.00, 1.00), gamma=0.97, contrast=1.03, saturation=1.03, blur=0.35, noise=3),
    Camera("brick lane", scenes.brick_wall, scenes.bicycle, 0.15, (RIGHT, LEFT, BACK), (0.86, 0.95),
           (1.10, 1.00, 0.88), gamma=1.09, contrast=1.00, saturation=0.94, blur=0.55, noise=4),
    Camera("park", scenes.park, scenes.bush, 0.18, (FRONT, BACK, RIGHT), (0.78, 0.90),
           (0.96, 1.04, 0.94), gamma=0.91, contrast=0.94, saturation=1.12, blur=0.40, noise=3),
    Camera("station", scenes.station, scenes.passer_by, 0.18, (FRONT, BACK), (0.85, 0.98),
           (0.92, 1.00, 1.11), gamma=1.00, contrast=0.88, saturation=0.85, blur=0.70, noise=5),
    Camera("shop", scenes.shop, scenes.passer_by, 0.12, (LEFT, RIGHT, FRONT), (0.86, 0.97),
           (1.07, 0.98, 0.96), gamma=0.88, contrast=1.12, saturation=1.06, blur=0.45, noise=4),
    Camera("yard at dusk", scenes.fence, scenes.post, 0.15, (BACK, FRONT, LEFT), (0.80, 0.92),
           (0.92, 0.96, 1.07), gamma=1.18, contrast=0.95, saturation=0.83, blur=0.75, noise=6),
)
# fmt: on


def photograph(
    person: Person,
    camera: Camera,
    rng: np.random.Generator,
    *,
    height: int = 128,
    width: int = 64,
) -> np.ndarray:
    """Return one picture (height, width, 3), uint8 RGB, of a person passing a camera.

    The spot in the scene, the pose, the direction, the framing, the obstacle and the light all
    come from the generator, so the same generator state gives the same bytes. Any size will do
    whose ratio is about that of a standing person, 2 to 1.
    """
    tall, wide = height * SUPERSAMPLING, width * SUPERSAMPLING
    stage = Stage(np.empty((tall, wide, 3), np.uint8), rng)
    camera.scene(stage)
    size = tall * rng.uniform(*camera.scale) * person.stature
    draw_person(
        stage.canvas,
        person,
        view=rng.choice(camera.views) + rng.normal(0.0, 0.35),
        phase=rng.uniform(0.0, 2 * np.pi),
        centre=wide * rng.normal(0.5, 0.025),
        foot=max((tall + size) / 2, size + 0.03 * tall) + tall * rng.normal(0.01, 0.015),
        height=size,
    )
    if rng.random() < camera.occlusion:
        camera.obstacle(stage)
    picture = cv2.resize(stage.canvas, (width, height), interpolation=cv2.INTER_AREA)
    return _expose(picture, camera, rng)


def _expose(picture: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Return a picture (H, W, 3), uint8, after uneven light, lens, tone curve, colours, noise."""
    tall, wide = picture.shape[:2]
    light = rng.uniform(0.78, 1.18, (3, 2)) * rng.uniform(0.85, 1.12)
    light = cv2.resize(light, (wide, tall), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    seen = cv2.GaussianBlur(picture, (0, 0), camera.blur * wide / 64 * rng.uniform(0.8, 1.5))
    seen = cv2.multiply(seen, cv2.merge([light] * 3), dtype=cv2.CV_8U)

    gains = camera.gains * rng.normal(1.0, 0.03, 3)
    levels = np.outer(np.arange(256) / 255, gains) ** (camera.gamma * rng.uniform(0.9, 1.1))
    seen = cv2.LUT(seen, levels.astype(np.float32)[None])

    saturation = camera.saturation * rng.uniform(0.85, 1.1)
    mix = saturation * np.eye(3) + (1 - saturation) * np.array(LUMA)
    lift = np.full((3, 1), 0.45 * (1 - camera.contrast))
    seen = cv2.transform(seen, 255 * np.hstack([camera.contrast * mix, lift]))

    noise = rng.standard_normal((tall, wide), np.float32) * np.float32(camera.noise)
    return cv2.convertScaleAbs(cv2.max(cv2.add(seen, cv2.merge([noise] * 3)), 0))
