"""The image that VM guests of the tests boot: the project's own guest, built once and cached."""

import os
from pathlib import Path

import pytest

from outrider.lab.machine import GuestImage

CACHE = Path(os.environ.get("OUTRIDER_CACHE", "/var/cache/outrider"))


def guest_image() -> GuestImage:
    """Built once, then taken from the cache."""
    if local := os.environ.get("OUTRIDER_TEST_GUEST"):  # a directory with vmlinuz and initrd.gz, to try another guest
        return GuestImage(Path(local) / "vmlinuz", Path(local) / "initrd.gz")
    images = pytest.importorskip("outrider.appliances.images", reason="no image for VM guests")
    image = images.build_image("guest", CACHE)
    return GuestImage(image.kernel, image.initrd)
