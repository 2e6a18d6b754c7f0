"""The image that VM guests of the tests boot: the project's own guest, built once and cached."""

import os
from pathlib import Path

from outrider.appliances.images import GUEST, build_image
from outrider.lab.images import GuestImage, own_guest_image

CACHE = Path(os.environ.get("OUTRIDER_CACHE", "/var/cache/outrider"))


def guest_image() -> GuestImage:
    """Built when anything in it has changed, else taken from the cache."""
    build_image(GUEST, CACHE)
    return own_guest_image(CACHE)
