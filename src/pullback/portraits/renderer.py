"""A ray-marched renderer of clay-like portraits with known factors.

Signed distances (ellipsoids joined by smooth minima), sphere tracing, one lamp and sky light, features painted in
the frame of the head. Compiled with numba, one portrait a thread: the same factors give the same bits whatever the
number of threads. Physical values come in the order of ``factors.FACTORS``.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pullback.errors import OptionError
from pullback.portraits.factors import World, to_physical

Image = NDArray[np.float32]

HALF_WIDTH = 0.98  # half of the picture's width, in units of the scene
CENTRE_Y = -0.03
Z_NEAR, Z_FAR = 1.15, -0.75
MAX_STEPS = 40
HIT = 0.004
FACE, HAIR, NECK, BODY = 1, 2, 3, 4
YAW, PITCH, LIGHT, EXPOSURE, SKIN, HAIR_TONE, HAIR_LENGTH, WIDTH = range(8)
SMILE, MOUTH, EYE, NOSE, GLASSES, BACK_RED, BACK_YELLOW, CLOTHES = range(8, 16)

jit = njit(cache=True, fastmath=True)
inline = njit(cache=True, fastmath=True, inline="always")


@inline
def _ellipsoid(x, y, z, rx, ry, rz):
    """Bound of the signed distance to an ellipsoid: ``k0 (k0 - 1) / k1``."""
    a, b, c = x / rx, y / ry, z / rz
    k0 = math.sqrt(a * a + b * b + c * c)
    a, b, c = a / rx, b / ry, c / rz
    return k0 * (k0 - 1.0) / (math.sqrt(a * a + b * b + c * c) + 1e-9)


@inline
def _smooth_min(a, b, k):
    h = max(k - abs(a - b), 0.0) / k
    return min(a, b) - h * h * k * 0.25


@inline
def _step(low, high, x):
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@inline
def _mix(a, b, t):
    return a + (b - a) * t


@jit
def _to_head(x, y, z, turn):
    """World to head frame: pitch about x and yaw about y, around a pivot in the neck."""
    cy, sy, cp, sp = turn
    y += 0.30
    xh, zh = cy * x - sy * z, sy * x + cy * z
    return xh, cp * y + sp * zh - 0.30, -sp * y + cp * zh


@jit
def _face(x, y, z, p):
    w = p[WIDTH]
    ax = abs(x)
    d = _smooth_min(
        _ellipsoid(x, y - 0.10, z + 0.02, 0.60 * w, 0.74, 0.66),
        _ellipsoid(x, y + 0.36, z - 0.12, 0.45 * w, 0.42, 0.46),
        0.22,
    )
    big = p[NOSE]
    d = _smooth_min(
        d,
        _ellipsoid(x, y + 0.07 + 0.03 * big, z - 0.63, 0.065 + 0.160 * big, 0.11 + 0.13 * big, 0.12 + 0.14 * big),
        0.06,
    )
    lift = p[SMILE]
    cheek = _ellipsoid(ax - 0.31 * w, y + 0.20 - 0.06 * lift, z - 0.44, 0.15, 0.12, 0.11 + 0.035 * lift)
    d = _smooth_min(d, cheek, 0.10)
    return _smooth_min(d, _ellipsoid(ax - 0.60 * w, y, z + 0.02, 0.08, 0.16, 0.10), 0.05)


@jit
def _hair(x, y, z, p):
    w, length, ax = p[WIDTH], p[HAIR_LENGTH], abs(x)
    cap = _ellipsoid(x, y - 0.20, z + 0.12, 0.69 * w, 0.72, 0.70)
    fringe = 0.42 - y + 0.50 * max(z - 0.05, 0.0) - 0.88 * max(0.15 - z, 0.0)
    side = _ellipsoid(
        ax - 0.57 * w, y + 0.02 + 0.42 * length, z + 0.16, 0.15 + 0.06 * length, 0.24 + 0.52 * length, 0.25
    )
    back = _ellipsoid(x, y + 0.10 + 0.34 * length, z + 0.38, 0.58 * w, 0.55 + 0.45 * length, 0.30)
    return _smooth_min(max(cap, fringe), _smooth_min(side, back, 0.10), 0.12)


@jit
def _scene(x, y, z, p, turn):
    """Distance to the nearest part and which part it is."""
    xh, yh, zh = _to_head(x, y, z, turn)
    best, part = _face(xh, yh, zh, p), FACE
    d = _hair(xh, yh, zh, p)
    if d < best:
        best, part = d, HAIR
    d = _ellipsoid(x, y + 0.95, z + 0.10, 0.25, 0.50, 0.25)
    if d < best:
        best, part = d, NECK
    d = _ellipsoid(x, y + 1.32, z + 0.12, 1.02, 0.56, 0.46)
    if d < best:
        best, part = d, BODY
    return best, part


@jit
def _skin_rgb(s):
    return _mix(0.98, 0.40, s), _mix(0.79, 0.25, s), _mix(0.66, 0.17, s)


@jit
def _hair_rgb(t):
    return _mix(0.11, 0.93, t), _mix(0.075, 0.70, t), _mix(0.06, 0.33, t)


@jit
def _paint_eyes(rgb, x, y, p, hair):
    ex, ey = abs(x) - 0.245 * p[WIDTH], y - 0.09
    half = 0.022 + 0.158 * p[EYE]
    inside = 1.0 - _step(0.90, 1.06, math.sqrt((ex / 0.185) ** 2 + (ey / half) ** 2))
    iris = 1.0 - _step(0.085, 0.105, math.sqrt(ex * ex + ey * ey))
    glint = 1.0 - _step(0.018, 0.035, math.sqrt(ex * ex + (ey - 0.04) ** 2))
    lid = _step(0.90, 1.06, math.sqrt((ex / 0.20) ** 2 + (ey / (half + 0.035)) ** 2))
    brow = (1.0 - _step(0.17, 0.21, abs(ex))) * (1.0 - _step(0.028, 0.052, abs(ey - 0.27 + 0.9 * ex * ex)))
    for c in range(3):
        value = _mix(rgb[c] * 0.45, rgb[c], lid)
        eye = _mix(_mix(0.97, (0.13, 0.20, 0.26)[c], iris), 1.0, glint)
        rgb[c] = _mix(_mix(value, eye, inside), hair[c] * 0.7, brow)


@jit
def _paint_mouth(rgb, x, y, p):
    """Lips, teeth and the dark of the mouth between an upper and a lower lip line."""
    smile, wide = p[SMILE], 0.31 + 0.045 * p[SMILE]
    m = x / wide
    if abs(m) >= 1.15:
        return
    curve = -0.44 + 0.18 * smile * (m * m - 0.40)
    arch = math.sqrt(max(1.0 - m * m, 0.0))
    gape = 0.155 * p[MOUTH] * arch
    off = y - curve
    lips = 1.0 - _step(gape + 0.062 * arch, gape + 0.062 * arch + 0.03, abs(off))
    hole = (1.0 - _step(gape - 0.012, gape + 0.012, abs(off))) * _step(0.006, 0.03, gape)
    teeth = hole * _step(gape * 0.25, gape * 0.25 + 0.02, off)
    for c in range(3):
        lip = rgb[c] * (0.62, 0.42, 0.42)[c] + (0.22, 0.05, 0.06)[c]
        value = _mix(_mix(rgb[c], lip, lips), (0.20, 0.05, 0.06)[c], hole)
        rgb[c] = _mix(value, (0.96, 0.94, 0.90)[c], teeth)


@jit
def _paint_nose(rgb, x, y, p):
    """A blush that grows with the nose."""
    big = p[NOSE]
    away = math.sqrt((x / (0.070 + 0.175 * big)) ** 2 + ((y + 0.10 + 0.04 * big) / (0.070 + 0.150 * big)) ** 2)
    blush = 0.9 * (1.0 - _step(0.55, 1.05, away))
    for c in range(3):
        rgb[c] = _mix(rgb[c], rgb[c] * (0.80, 0.35, 0.32)[c] + (0.16, 0.02, 0.02)[c], blush)


@jit
def _paint_glasses(rgb, x, y, p):
    ex, ey = abs(x) - 0.245 * p[WIDTH], y - 0.08
    ring = 1.0 - _step(0.024, 0.046, abs(math.sqrt((ex / 1.05) ** 2 + ey * ey) - 0.225))
    bridge = (1.0 - _step(0.020, 0.040, abs(ey - 0.05))) * (1.0 - _step(0.04, 0.07, abs(x)))
    arm = (1.0 - _step(0.020, 0.040, abs(ey - 0.04))) * _step(0.23, 0.25, ex)
    frame = max(ring, bridge, arm) * p[GLASSES]
    for c in range(3):
        rgb[c] = _mix(rgb[c], 0.05, frame)


@jit
def _shade(x, y, z, part, p, turn, lamp, rgb):
    e = 0.008
    d0, _ = _scene(x, y, z, p, turn)
    nx = _scene(x + e, y, z, p, turn)[0] - d0
    ny = _scene(x, y + e, z, p, turn)[0] - d0
    nz = _scene(x, y, z + e, p, turn)[0] - d0
    norm = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    hair = _hair_rgb(p[HAIR_TONE])
    if part == HAIR:
        rgb[0], rgb[1], rgb[2] = hair
    elif part == BODY:
        t = p[CLOTHES]
        rgb[0], rgb[1], rgb[2] = _mix(0.10, 0.90, t), _mix(0.36, 0.22, t), _mix(0.72, 0.16, t)
    else:
        rgb[0], rgb[1], rgb[2] = _skin_rgb(p[SKIN])
        xh, yh, zh = _to_head(x, y, z, turn)
        if part == FACE and zh > 0.15:
            _paint_eyes(rgb, xh, yh, p, hair)
            _paint_mouth(rgb, xh, yh, p)
            _paint_nose(rgb, xh, yh, p)
        if part == FACE and zh > -0.1:
            _paint_glasses(rgb, xh, yh, p)
    diffuse = max((nx * lamp[0] + ny * lamp[1] + nz * lamp[2]) / norm, 0.0)
    light = 0.36 + 0.08 * ny / norm + 0.70 * diffuse
    for c in range(3):
        rgb[c] *= light


@jit
def _trace(x, y, p, turn, lamp, rgb):
    z = Z_NEAR
    for _ in range(MAX_STEPS):
        d, part = _scene(x, y, z, p, turn)
        if d < HIT:
            _shade(x, y, z, part, p, turn, lamp, rgb)
            return
        z -= d * 0.9
        if z < Z_FAR:
            break
    a, b, fade = p[BACK_RED], p[BACK_YELLOW], 1.0 - 0.10 * y
    rgb[0] = (0.60 + 0.110 * a + 0.070 * b) * fade
    rgb[1] = (0.60 - 0.110 * a + 0.070 * b) * fade
    rgb[2] = (0.60 + 0.010 * a - 0.140 * b) * fade


@njit(cache=True, fastmath=True, parallel=True)
def _render(physical, size, num_sub, out):
    for n in prange(physical.shape[0]):
        p = physical[n]
        turn = (math.cos(p[YAW]), math.sin(p[YAW]), math.cos(p[PITCH]), math.sin(p[PITCH]))
        norm = math.sqrt(1.0 + 0.5 * 0.5)
        lamp = (math.sin(p[LIGHT]) / norm, 0.5 / norm, math.cos(p[LIGHT]) / norm)
        gain = math.exp(p[EXPOSURE])
        rgb = np.zeros(3)
        fine = size * num_sub
        for j in range(fine):
            y = CENTRE_Y + HALF_WIDTH * (1.0 - (2 * j + 1.0) / fine)
            for i in range(fine):
                x = HALF_WIDTH * ((2 * i + 1.0) / fine - 1.0)
                _trace(x, y, p, turn, lamp, rgb)
                for c in range(3):
                    out[n, j // num_sub, i // num_sub, c] += min(rgb[c] * gain, 1.0) / (num_sub * num_sub)


def render(z: NDArray[np.float64], *, size: int = 64, num_sub: int = 2, world: World = "easy") -> Image:
    """Renders portraits from standard units.

    Args:
        z: Factors in standard units, shape `(N, 16)`.
        size: Width and height in pixels, >= 8.
        num_sub: Rays a pixel along each axis (anti-aliasing), >= 1.
        world: ``"easy"`` or ``"hard"``.

    Returns:
        RGB pictures in [0, 1], shape `(N, size, size, 3)`, float32. The same factors give the same bits.

    Raises:
        ShapeError: If ``z`` does not have 16 columns.
        OptionError: If a number is out of range.

    Example:
        >>> render(np.zeros((1, 16)), size=8).shape
        (1, 8, 8, 3)
    """
    if size < 8 or num_sub < 1:
        raise OptionError(
            wanted="size >= 8 and num_sub >= 1", got=f"{size} and {num_sub}", hint="64 and 2 are the defaults"
        )
    physical = np.ascontiguousarray(to_physical(z, world=world))
    out = np.zeros((len(physical), size, size, 3), dtype=np.float32)
    _render(physical, size, num_sub, out)
    return out
