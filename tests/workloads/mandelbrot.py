# SPDX-License-Identifier: BSD-3-Clause
"""Draw the Mandelbrot set in memory: the example of README and scripts/demo.

Every line of the loop makes or drops an array of the size of the image, so the
memory of the process moves up and down with the lines: something to look at
in the records of line_memory.
"""

import numpy as np


def mandelbrot(height, width, steps=20):
    """Tell for each point of a grid after how many steps it escapes.

    Points that stay within the circle of radius 2 for all `steps` get `steps`.
    """
    imaginary, real = np.ogrid[-1.4:1.4:height * 1j, -2.0:0.8:width * 1j]
    points = real + 1j * imaginary
    orbit = points.copy()
    escape = np.full(points.shape, steps)

    for step in range(steps):
        orbit = orbit * orbit + points
        outside = abs(orbit) > 2.0
        first = outside & (escape == steps)  # escapes in this very step
        escape[first] = step
        orbit[outside] = 2.0  # else it would overflow later on

    return escape


if __name__ == "__main__":
    image = mandelbrot(400, 400)
    inside = int((image == 20).sum())
    print(f"{inside} of {image.size} points are in the set")
