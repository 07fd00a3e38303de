"""Draw docs/people.jpg: ten generated people, each under the six cameras.

python docs/draw_people.py
"""

from pathlib import Path

import cv2
import numpy as np

from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person

PEOPLE, COLUMNS = 10, 2

if __name__ == "__main__":
    random = np.random.default_rng(8)
    rows = []
    for _ in range(PEOPLE // COLUMNS):
        row = []
        for _ in range(COLUMNS):
            person = sample_person(random)
            row += [photograph(person, camera, random) for camera in CAMERAS]
            row.append(np.full((128, 12, 3), 255, np.uint8))
        rows.append(np.hstack(row[:-1]))
    picture = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    target = str(Path(__file__).with_name("people.jpg"))
    cv2.imwrite(target, picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
