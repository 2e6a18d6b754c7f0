"""``outrider image``: building what appliances (and the lab's guests) boot from."""

import time
from typing import Annotated

import typer

from outrider.cli.exits import FAILED, USAGE, CliError
from outrider.cli.places import cache_dir
from outrider.cli.privilege import require_root

app = typer.Typer(help="Build what appliances boot from.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _image() -> None:
    """Build what appliances boot from."""


@app.command()
def build(name: Annotated[str, typer.Argument(help="suricata-ips, bridge-null or guest")]) -> None:
    """Build an image, unless the cache has it for exactly these inputs."""
    from outrider.appliances.debian import PackagesUnavailable  # noqa: PLC0415 - adapters: only when asked
    from outrider.appliances.images import IMAGE_NAMES, build_image  # noqa: PLC0415
    from outrider.appliances.initramfs import BuildFailed  # noqa: PLC0415

    if name not in IMAGE_NAMES:
        raise CliError(USAGE, f"there is no image {name!r}; allowed: {', '.join(IMAGE_NAMES)}")
    require_root("images are made from distribution packages")
    began = time.monotonic()
    try:
        image = build_image(name, cache_dir())
    except (BuildFailed, PackagesUnavailable, OSError) as error:
        raise CliError(FAILED, f"image {name} cannot be built: {' '.join(str(error).split())}") from error
    print(f"{name} {image.digest} ready in {time.monotonic() - began:.1f} s, under {cache_dir()}")
