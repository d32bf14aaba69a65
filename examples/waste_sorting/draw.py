"""Draws the images of the demo: bottles and cans in five classes, as a camera above a conveyor belt might see them.

Nothing here is a photograph. Position, size, rotation, colour, light, belt, occlusion and noise are drawn at random from one seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 96
_CANVAS = 288
CLASSES = ("brown_bottle", "clear_bottle", "crushed_can", "drink_can", "green_bottle")

Colour = tuple[int, int, int]
Draw = Callable[[ImageDraw.ImageDraw, random.Random, Colour], None]

_GLASS: dict[str, Colour] = {
    "brown_bottle": (104, 66, 34),
    "clear_bottle": (168, 186, 196),
    "green_bottle": (52, 104, 62),
}


def _shaken(colour: Colour, chance: random.Random, spread: int) -> Colour:
    red, green, blue = (max(0, min(255, channel + chance.randint(-spread, spread))) for channel in colour)
    return red, green, blue


def _label(draw: ImageDraw.ImageDraw, chance: random.Random, box: tuple[int, int, int, int]) -> None:
    """Put a printed label, or none, on an object: its colours say nothing about the class."""
    if chance.random() < 0.35:
        return
    paint = tuple(chance.randint(20, 240) for _ in range(3))
    draw.rectangle(box, fill=paint)
    left, top, right, bottom = box
    for _ in range(chance.randint(1, 4)):
        y = chance.randint(top, bottom)
        draw.line((left + 3, y, right - 3, y), fill=tuple(chance.randint(0, 255) for _ in range(3)), width=3)


def _bottle(draw: ImageDraw.ImageDraw, chance: random.Random, colour: Colour) -> None:
    wide, tall = chance.randint(34, 44), chance.randint(82, 100)
    neck, mid = chance.randint(11, 15), _CANVAS // 2
    shoulder = mid - tall + chance.randint(48, 66)
    draw.rounded_rectangle((mid - wide, shoulder, mid + wide, mid + tall), radius=14, fill=colour)
    draw.polygon(
        (
            (mid - wide, shoulder + 14),
            (mid - neck, shoulder - 26),
            (mid + neck, shoulder - 26),
            (mid + wide, shoulder + 14),
        ),
        fill=colour,
    )
    draw.rectangle((mid - neck, mid - tall - 14, mid + neck, shoulder - 20), fill=colour)
    if chance.random() < 0.6:
        cap = tuple(chance.randint(0, 255) for _ in range(3))
        draw.rectangle((mid - neck - 2, mid - tall - 22, mid + neck + 2, mid - tall - 8), fill=cap)
    shine = tuple(min(255, channel + chance.randint(25, 70)) for channel in colour)
    draw.line(
        (mid - wide + 9, shoulder + 16, mid - wide + 9, mid + tall - 14),
        fill=shine,
        width=chance.randint(3, 7),
    )
    _label(draw, chance, (mid - wide, mid - 10, mid + wide, mid + chance.randint(25, 50)))


def _can(draw: ImageDraw.ImageDraw, chance: random.Random, colour: Colour) -> None:
    wide, tall, mid = chance.randint(42, 52), chance.randint(68, 84), _CANVAS // 2
    draw.rounded_rectangle((mid - wide, mid - tall, mid + wide, mid + tall), radius=10, fill=colour)
    metal = _shaken((186, 188, 192), chance, 18)
    for edge in (-1, 1):
        y = mid + edge * tall
        draw.rounded_rectangle((mid - wide + 5, y - 7, mid + wide - 5, y + 7), radius=6, fill=metal)
    _label(draw, chance, (mid - wide, mid - tall + 16, mid + wide, mid + tall - 16))
    shine = tuple(min(255, channel + 50) for channel in colour)
    draw.line((mid + wide - 14, mid - tall + 12, mid + wide - 14, mid + tall - 12), fill=shine, width=5)


def _crushed(draw: ImageDraw.ImageDraw, chance: random.Random, colour: Colour) -> None:
    wide, tall, mid = chance.randint(46, 60), chance.randint(40, 66), _CANVAS // 2
    left, right = [], []
    steps = chance.randint(4, 6)
    for step in range(steps + 1):
        y = mid - tall + 2 * tall * step // steps
        left.append((mid - wide + chance.randint(0, 26), y))
        right.append((mid + wide - chance.randint(0, 26), y))
    draw.polygon((*left, *reversed(right)), fill=colour)
    for (x0, y0), (x1, y1) in zip(left, right, strict=True):
        shade = tuple(max(0, channel - chance.randint(15, 70)) for channel in colour)
        draw.line((x0, y0, x1, y1 + chance.randint(-9, 9)), fill=shade, width=chance.randint(3, 8))
    metal = _shaken((186, 188, 192), chance, 18)
    draw.ellipse((mid - wide + 12, mid - tall - 10, mid + wide - 12, mid - tall + 12), fill=metal)


_SHAPES: dict[str, Draw] = {
    "brown_bottle": _bottle,
    "clear_bottle": _bottle,
    "crushed_can": _crushed,
    "drink_can": _can,
    "green_bottle": _bottle,
}


def _belt(chance: random.Random, noise: np.random.Generator) -> Image.Image:
    """Return a conveyor belt: grey rubber with ribs, stains and uneven light."""
    grey = chance.randint(40, 150)
    tint = np.array([grey + chance.randint(-14, 14) for _ in range(3)], np.float32)
    belt = np.ones((SIDE, SIDE, 3), np.float32) * tint
    ribs = 1 + 0.08 * np.sin(
        np.arange(SIDE, dtype=np.float32) / chance.uniform(1.5, 5) + chance.uniform(0, 6)
    )
    belt *= (ribs[:, None, None] if chance.random() < 0.5 else ribs[None, :, None]).astype(np.float32)
    belt += noise.normal(0, chance.uniform(2, 10), belt.shape).astype(np.float32)
    image = Image.fromarray(belt.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(chance.randint(0, 5)):
        x, y, size = chance.randint(0, SIDE), chance.randint(0, SIDE), chance.randint(2, 12)
        draw.ellipse(
            (x, y, x + size, y + size // 2 + 1), fill=tuple(chance.randint(20, 200) for _ in range(3))
        )
    return image


def _thing(name: str, chance: random.Random) -> Image.Image:
    layer = Image.new("RGBA", (_CANVAS, _CANVAS))
    base = _GLASS.get(name) or tuple(chance.randint(30, 225) for _ in range(3))
    red, green, blue = _shaken((base[0], base[1], base[2]), chance, 24)
    _SHAPES[name](ImageDraw.Draw(layer), chance, (red, green, blue))
    if name == "clear_bottle":
        layer.putalpha(layer.getchannel("A").point(lambda alpha: int(alpha * chance.uniform(0.65, 0.9))))
    turned = layer.rotate(chance.uniform(0, 360), resample=Image.Resampling.BICUBIC)
    side = int(SIDE * chance.uniform(1.0, 1.4))
    return turned.resize((side, side), Image.Resampling.LANCZOS)


def draw(name: str, chance: random.Random) -> Image.Image:
    """Return one image of the class `name`, SIDE x SIDE pixels, RGB."""
    noise = np.random.default_rng(chance.getrandbits(32))
    image = _belt(chance, noise)
    thing = _thing(name, chance)
    shift = (SIDE - thing.width) // 2
    image.paste(thing, (shift + chance.randint(-14, 14), shift + chance.randint(-14, 14)), thing)
    if chance.random() < 0.35:
        band = ImageDraw.Draw(image)
        x, y = chance.randint(0, SIDE), chance.randint(0, SIDE)
        band.rectangle(
            (x, y, x + chance.randint(6, 22), y + chance.randint(6, 22)),
            fill=tuple(chance.randint(0, 255) for _ in range(3)),
        )
    if chance.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0.4, 1.4)))
    light = chance.uniform(0.7, 1.25)
    seen = np.asarray(image, np.float32) * light + noise.normal(0, chance.uniform(1, 7), (SIDE, SIDE, 3))
    return Image.fromarray(seen.clip(0, 255).astype(np.uint8))


def images(count: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield `count` images of each class with its name, the same ones for the same seed."""
    for name in CLASSES:
        chance = random.Random(f"{seed}/{name}")
        for _ in range(count):
            yield name, draw(name, chance)
