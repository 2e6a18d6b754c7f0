"""``outrider image``: building what appliances (and the lab's guests) boot from."""

import importlib
import time
from typing import Annotated, Any

import typer

from outrider.cli.exits import FAILED, CliError
from outrider.cli.places import cache_dir
from outrider.cli.privilege import require_root

app = typer.Typer(help="Build what appliances boot from.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _image() -> None:
    """Build what appliances boot from."""


@app.command()
def build(name: Annotated[str, typer.Argument(help="suricata-ips, bridge-null or guest")]) -> None:
    """Build an image, unless the cache has it for exactly these inputs."""
    require_root("images are made from distribution packages")
    images = _images_module()
    began = time.monotonic()
    try:
        image = images.build_image(name, cache_dir())
    except images.ImageError as error:
        raise CliError(FAILED, " ".join(str(error).split())) from error
    took = time.monotonic() - began
    print(f"{name} {getattr(image, 'digest', '')} ready in {took:.1f} s, under {cache_dir()}")


def _images_module() -> Any:
    try:
        return importlib.import_module("outrider.appliances.images")
    except ModuleNotFoundError as error:
        raise CliError(FAILED, f"this installation cannot build images (no module {error.name})") from error
