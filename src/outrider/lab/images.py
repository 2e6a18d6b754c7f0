"""What the lab's VM guests boot: the project's own guest image, unless a lab is given another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from outrider.lab.paths import LabError


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A kernel, an initrd and options for the kernel's command line.

    The initrd must understand ``outrider.ip=ADDRESS/LENGTH`` and ``outrider.name=NAME`` there, and serve commands on
    the virtio-serial port ``outrider.exec``: one line in, its output and ``outrider-exit STATUS`` out.
    """

    kernel: Path
    initrd: Path
    options: str = "console=ttyS0 quiet panic=-1"


ImageSource = Callable[[], GuestImage]


def own_guest_image(cache: Path) -> GuestImage:
    """The image ``guest`` from ``cache``, built there when it is missing. Raises ``LabError``."""
    from outrider.appliances.debian import PackagesUnavailable  # noqa: PLC0415 - only where a VM is started
    from outrider.appliances.images import GUEST, ImageMissing, build_image, find_image  # noqa: PLC0415
    from outrider.appliances.initramfs import BuildFailed  # noqa: PLC0415

    try:
        try:
            image = find_image(GUEST, cache)
        except ImageMissing:
            image = build_image(GUEST, cache)
    except (BuildFailed, PackagesUnavailable) as error:
        raise LabError(f"the image for VM guests cannot be built: {error}") from None
    return GuestImage(image.kernel, image.initrd, image.options)
