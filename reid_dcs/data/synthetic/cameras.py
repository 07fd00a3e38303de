"""Cameras: render a person in a scene with framing, occlusion, lighting, lens and sensor effects.

Scene, person and obstacle are drawn at a higher resolution. Lighting, lens and sensor effects are
applied to the downsampled image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from reid_dcs.data.synthetic import scenes
from reid_dcs.data.synthetic.painting import draw_person
from reid_dcs.data.synthetic.person import Person
from reid_dcs.data.synthetic.scenes import Stage

SUPERSAMPLING = 3  # factor of the drawing resolution
FRONT, RIGHT, BACK, LEFT = 0.0, np.pi / 2, np.pi, -np.pi / 2  # walking directions, radians
LUMA = (0.30, 0.59, 0.11)  # weights of red, green and blue in gray


@dataclass(frozen=True)
class Camera:
    """Fixed properties of one camera.

    Attributes:
        name: location of the camera.
        scene: function that draws the background.
        obstacle: function that draws an object in front of the person.
        occlusion: probability of the obstacle.
        views: usual walking directions, in radians as in ``draw_person``.
        scale: range of the person's height, as a fraction of the image height.
        gains: white balance factors of red, green and blue.
        gamma: exponent of the tone curve; above 1 darkens.
        contrast: contrast factor.
        saturation: saturation factor.
        blur: standard deviation of the lens blur, in pixels of an image 64 pixels wide.
        noise: standard deviation of the sensor noise, in gray levels.
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
    """Render an image of a person passing a camera.

    Args:
        person: identity to draw.
        camera: camera that sees the person.
        rng: generator of all variation: scene, pose, direction, framing, obstacle and lighting.
            The same state gives the same bytes.
        height, width: image size in pixels, with a ratio near 2:1.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    canvas_height, canvas_width = height * SUPERSAMPLING, width * SUPERSAMPLING
    stage = Stage(np.empty((canvas_height, canvas_width, 3), np.uint8), rng)
    camera.scene(stage)
    body = canvas_height * rng.uniform(*camera.scale) * person.stature  # height in pixels
    centered_foot = max((canvas_height + body) / 2, body + 0.03 * canvas_height)
    draw_person(
        stage.canvas,
        person,
        view=rng.choice(camera.views) + rng.normal(0.0, 0.35),
        phase=rng.uniform(0.0, 2 * np.pi),
        center=canvas_width * rng.normal(0.5, 0.025),
        foot=centered_foot + canvas_height * rng.normal(0.01, 0.015),
        height=body,
    )
    if rng.random() < camera.occlusion:
        camera.obstacle(stage)
    image = cv2.resize(stage.canvas, (width, height), interpolation=cv2.INTER_AREA)
    return _expose(image, camera, rng)


def _expose(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Apply lens blur, uneven lighting, white balance, tone curve, saturation, contrast and noise.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    light = rng.uniform(0.78, 1.18, (3, 2)) * rng.uniform(0.85, 1.12)
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), camera.blur * width / 64 * rng.uniform(0.8, 1.5))
    image = cv2.multiply(image, cv2.merge([light] * 3), dtype=cv2.CV_8U)

    gains = camera.gains * rng.normal(1.0, 0.03, 3)
    tone_curve = np.outer(np.arange(256) / 255, gains) ** (camera.gamma * rng.uniform(0.9, 1.1))
    image = cv2.LUT(image, tone_curve.astype(np.float32)[None])  # (H, W, 3) float32, 0 to 1

    saturation = camera.saturation * rng.uniform(0.85, 1.1)
    mix = saturation * np.eye(3) + (1 - saturation) * np.array(LUMA)
    offset = np.full((3, 1), 0.45 * (1 - camera.contrast))
    image = cv2.transform(image, 255 * np.hstack([camera.contrast * mix, offset]))

    noise = rng.standard_normal((height, width), np.float32) * np.float32(camera.noise)
    return cv2.convertScaleAbs(np.maximum(cv2.add(image, cv2.merge([noise] * 3)), 0))
