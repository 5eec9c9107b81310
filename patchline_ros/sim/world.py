"""What stands and moves along the road: a function of the seed, the place and the frame index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

import numpy as np

from patchline_ros.sim.camera import FAR, Road
from patchline_ros.sim.labels import SIGN_CLASSES
from patchline_ros.sim.noise import stream

STEP = 1.5
"""Metres driven between two frames."""

LANE = 3.4
ROAD_HALF = 7.0
EGO_LANE = LANE / 2
CHUNK = 20.0
SIGN_SPACING = 12.0
SIGN_NEAREST = 19.0
"""The sign camera turns to the next sign when the last one is nearer than this (metres)."""

_LANES = ((-1.5 * LANE, -0.95, 31.0), (-0.5 * LANE, -1.25, 37.0), (1.5 * LANE, 0.8, 25.0))
"""Trains of vehicles: metres right of the centre, metres a frame, metres between two of them."""

ZEBRA_CHUNKS = 6
LEAD_PERIOD = 170
ORIGIN = 1 << 20
"""Added to chunk numbers, which may be negative, to make them keys."""


class Kind(str, Enum):
    """Kinds of things along the road."""

    BUILDING = "building"
    TREE = "tree"
    BUSH = "bush"
    LAMP = "lamp"
    SIGN = "sign"
    CAR = "car"
    TRUCK = "truck"
    PERSON = "person"


_SMALL = (Kind.PERSON, Kind.BUSH, Kind.SIGN)
_SMALL_FAR = 110.0
"""Metres beyond which small things would be a few pixels and are left out."""


@dataclass(frozen=True)
class Thing:
    """Something at distance s (its near end) and `lateral` metres right of the centre line.

    Sizes in metres. variant picks its looks; toward: it faces the camera (vehicles) or has a
    pitched roof (buildings); pace: metres along and across the road a frame; shade: its own
    brightness.
    """

    kind: Kind
    s: float
    lateral: float
    length: float
    width: float
    height: float
    variant: int
    toward: bool = False
    pace: tuple[float, float] = (0.0, 0.0)
    shade: float = 1.0

    @property
    def block(self) -> tuple[float, float, float]:
        """Length, half width and height that hold everything that is painted for the thing."""
        half = self.width if self.kind in (Kind.BUILDING, Kind.LAMP) else 0.6 * self.width
        return self.length, half, self.height + 0.5 * self.width


def _order(thing: Thing) -> float:
    # A wall along the road stands behind whatever is beside it on the pavement.
    return thing.s + (thing.length if thing.kind is Kind.BUILDING else 0.0)


class World:
    """The things of one drive."""

    def __init__(self, seed: int, road: Road) -> None:
        self._seed = seed
        self._road = road
        rng = stream(seed, 10)
        self.pavement = {side: 1.8 + 1.6 * float(rng.random()) for side in (-1, 1)}
        self._chunk = lru_cache(maxsize=64)(self._make_chunk)
        self.sign = lru_cache(maxsize=64)(self._make_sign)
        self._convoy = lru_cache(maxsize=64)(self._make_convoy)

    def things(self, index: int) -> list[Thing]:
        """Everything in front of the camera at this frame, farthest first."""
        start = index * STEP
        found: list[Thing] = []
        for number in range(int((start - CHUNK) // CHUNK), int((start + FAR) // CHUNK) + 1):
            found += [self._moved(thing, index) for thing in self._chunk(number)]
        first = max(0, int(start // SIGN_SPACING) - 3)
        found += [self.sign(k) for k in range(first, first + int(_SMALL_FAR / SIGN_SPACING) + 3)]
        found += self._traffic(index)
        ahead = [
            thing
            for thing in found
            if 1.5 - thing.length < thing.s - start < (_SMALL_FAR if thing.kind in _SMALL else FAR)
        ]
        return sorted(ahead, key=_order, reverse=True)

    def _make_sign(self, number: int) -> Thing:
        """The number-th sign of the drive; each block of them holds every class once."""
        count = len(SIGN_CLASSES)
        order = stream(self._seed, 11, number // count).permutation(count)
        rng = stream(self._seed, 12, number)
        side = 1 if number % 2 == 0 else -1
        jitter, offset, size = rng.random(3)
        return Thing(
            Kind.SIGN,
            s=SIGN_NEAREST + SIGN_SPACING * (number + 1) + 3.0 * (float(jitter) - 0.5),
            lateral=side * (ROAD_HALF + 0.5 + 0.5 * float(offset)),
            length=0.0,
            width=0.8 + 0.2 * float(size),
            height=2.3 + 0.4 * float(jitter),
            variant=int(order[number % count]),
        )

    def sign_ahead(self, index: int) -> Thing:
        """The sign the sign camera looks at in this frame."""
        number = max(0, int(index * STEP // SIGN_SPACING) - 1)
        while self.sign(number).s < index * STEP + SIGN_NEAREST:
            number += 1
        return self.sign(number)

    def zebra(self, number: int) -> float | None:
        """Where in this chunk a zebra crossing begins, if it has one."""
        return number * CHUNK + 8.0 if number % ZEBRA_CHUNKS == 3 else None

    @staticmethod
    def _moved(thing: Thing, index: int) -> Thing:
        if thing.pace == (0.0, 0.0):
            return thing
        frames = index - thing.s / STEP
        return replace(
            thing,
            s=thing.s + thing.pace[0] * frames,
            lateral=thing.lateral + thing.pace[1] * frames,
        )

    def _make_chunk(self, number: int) -> tuple[Thing, ...]:
        rng = stream(self._seed, 13, number + ORIGIN)
        start = number * CHUNK
        found: list[Thing] = []
        for side in (-1, 1):
            kerb = ROAD_HALF + self.pavement[side]
            town = self._road.town(start)
            if rng.random() < town:
                found.append(self._building(rng, start, side, kerb + 0.2 + rng.random() * 1.5))
            else:
                if rng.random() < 0.4:
                    found.append(self._building(rng, start, side, kerb + 7 + 6 * rng.random()))
                found += self._plants(rng, start, side, kerb)
            found += self._pavement(rng, start, side, town)
        crossing = self.zebra(number)
        if crossing is not None and rng.random() < 0.8:
            found += self._crossing(rng, crossing)
        return tuple(found)

    @staticmethod
    def _building(rng: np.random.Generator, start: float, side: int, near: float) -> Thing:
        house = near > ROAD_HALF + 6 or rng.random() < 0.25
        floors = int(rng.integers(1, 3)) if house else int(rng.integers(2, 7))
        return Thing(
            Kind.BUILDING,
            s=start + 0.5 + float(rng.random()),
            lateral=side * near,
            length=10.0 + 2 * float(rng.random()) if house else 15.0 + 3.4 * float(rng.random()),
            width=9.0,
            height=3.1 * floors,
            variant=int(rng.integers(0, 1 << 16)),
            toward=house,
            shade=0.85 + 0.25 * float(rng.random()),
        )

    @staticmethod
    def _plants(rng: np.random.Generator, start: float, side: int, kerb: float) -> list[Thing]:
        found = []
        for _ in range(int(rng.integers(2, 5))):
            bush = rng.random() < 0.4
            size = 1.0 + 1.4 * rng.random() if bush else 5.0 + 5.0 * rng.random()
            away = 1.0 + (6 if bush else 20) * rng.random() ** 1.5
            found.append(
                Thing(
                    Kind.BUSH if bush else Kind.TREE,
                    s=start + CHUNK * float(rng.random()),
                    lateral=side * (kerb + float(away) + (0.0 if bush else 1.5)),
                    length=0.0,
                    width=float(size * (1.5 if bush else 0.75)),
                    height=float(size),
                    variant=int(rng.integers(0, 1 << 16)),
                    shade=0.8 + 0.4 * float(rng.random()),
                )
            )
        return found

    def _pavement(
        self, rng: np.random.Generator, start: float, side: int, town: float
    ) -> list[Thing]:
        """What stands and walks on the pavement: lamps, street trees, people."""
        found = []
        if (int(start // CHUNK) + (side > 0)) % 2 == 0:
            found.append(Thing(Kind.LAMP, start + 10.0, side * (ROAD_HALF + 0.4), 0.0, 1.9, 7.0, 0))
        if rng.random() < 0.45:
            size = 4.0 + 2.0 * float(rng.random())
            found.append(
                Thing(
                    Kind.TREE,
                    s=start + 4.0,
                    lateral=side * (ROAD_HALF + 1.3),
                    length=0.0,
                    width=size * 0.7,
                    height=size,
                    variant=int(rng.integers(0, 1 << 16)),
                    shade=0.85 + 0.3 * float(rng.random()),
                )
            )
        room = self.pavement[side] - 0.8
        for _ in range(int(rng.integers(1, 3)) + (rng.random() < town)):
            found.append(
                self._person(
                    rng,
                    start + CHUNK * float(rng.random()),
                    side * (ROAD_HALF + 0.5 + room * float(rng.random())),
                    (0.12 * (float(rng.random()) - 0.5), 0.0),
                )
            )
        return found

    def _crossing(self, rng: np.random.Generator, start: float) -> list[Thing]:
        """People on a zebra crossing, timed to be out of the camera's lane when it arrives."""
        found = []
        for _ in range(int(rng.integers(1, 4))):
            pace = (0.09 + 0.05 * float(rng.random())) * (1 if rng.random() < 0.6 else -1)
            lateral = (
                (4.2 + 2.5 * float(rng.random())) if pace > 0 else -0.8 - 3 * float(rng.random())
            )
            found.append(
                self._person(rng, start + 0.5 + 2.5 * float(rng.random()), lateral, (0.0, pace))
            )
        return found

    @staticmethod
    def _person(
        rng: np.random.Generator, s: float, lateral: float, pace: tuple[float, float]
    ) -> Thing:
        height = 1.55 + 0.35 * float(rng.random())
        variant = int(rng.integers(0, 1 << 16))
        return Thing(Kind.PERSON, s, lateral, 0.0, height * 0.5, height, variant, pace=pace)

    def _traffic(self, index: int) -> list[Thing]:
        """Vehicles: each lane is a train of them that moves at a speed of its own."""
        found = [self._lead(index)]
        for lane, (_, pace, spacing) in enumerate(_LANES):
            start = index * (STEP - pace)
            for number in range(int((start - 15) // spacing), int((start + FAR) // spacing) + 1):
                vehicle = self._convoy(lane, number)
                if vehicle is not None:
                    found.append(replace(vehicle, s=vehicle.s + vehicle.pace[0] * index))
        return found

    def _make_convoy(self, lane: int, number: int) -> Thing | None:
        """The number-th vehicle of a lane as it stands at frame 0, or a gap."""
        lateral, pace, spacing = _LANES[lane]
        rng = stream(self._seed, 20 + lane, number + ORIGIN)
        if rng.random() > 0.72:
            return None
        place = number * spacing + (spacing - 13) * float(rng.random())
        return replace(self._vehicle(rng, place, lateral, pace < 0), pace=(pace, 0.0))

    def _lead(self, index: int) -> Thing:
        """The vehicle in front: comes near, stays a while, and drives off before the next."""
        rng = stream(self._seed, 30, index // LEAD_PERIOD)
        nearest = 11.0 + 12.0 * float(rng.random())
        share = (index % LEAD_PERIOD) / LEAD_PERIOD
        gap = nearest + (FAR - nearest) * abs(2 * share - 1) ** 5
        gap += 2.5 * float(np.sin(index / 17.0))
        return self._vehicle(rng, index * STEP + gap, EGO_LANE, False)

    @staticmethod
    def _vehicle(rng: np.random.Generator, s: float, lateral: float, toward: bool) -> Thing:
        truck = rng.random() < 0.24
        size = 0.95 + 0.1 * float(rng.random())
        return Thing(
            Kind.TRUCK if truck else Kind.CAR,
            s=s,
            lateral=lateral + 0.5 * (float(rng.random()) - 0.5),
            length=(8.0 if truck else 4.3) * size,
            width=(2.4 if truck else 1.8) * size,
            height=(3.3 if truck else 1.45) * size,
            variant=int(rng.integers(0, 1 << 16)),
            toward=toward,
        )
