"""The programs on the kernels that Debian ships: 6.1, which has clsact, and 6.12, which has tcx; booted as VMs."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernels.initramfs import build_world
from kernels.inside.plays import CLSACT, TCX
from kernels.inside.scenarios import scenarios_for
from kernels.machine import Boot, boot
from outrider.appliances.kernels import fetch_kernel
from outrider.steering.build import build_programs

pytestmark = [pytest.mark.system, pytest.mark.vm]

BOOT_WITHIN_S = 240.0
KERNELS = {"6.1": CLSACT, "6.12": TCX}
QUESTIONS = [(version, scenario.name) for version, hooks in KERNELS.items() for scenario in scenarios_for(hooks)]


@pytest.fixture(scope="module")
def boots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Boot]:
    """One boot of each kernel, side by side, in which every scenario that is for it is played."""
    cache = Path(os.environ.get("OUTRIDER_CACHE", "/var/cache/outrider"))
    programs = build_programs(cache)
    worlds = {}
    for version, hooks in KERNELS.items():
        folder = tmp_path_factory.mktemp(f"kernel-{version}")
        kernel = fetch_kernel(version, cache)
        worlds[version] = kernel.image, build_world(kernel, hooks, programs, cache, folder / "initramfs"), folder
    with ThreadPoolExecutor(len(worlds)) as pool:
        booting = {version: pool.submit(boot, *world, BOOT_WITHIN_S) for version, world in worlds.items()}
    return {version: booted.result() for version, booted in booting.items()}


@pytest.mark.parametrize("version", KERNELS)
def test_the_kernel_booted_is_the_one_meant_and_played_everything(boots: dict[str, Boot], version: str):
    up = boots[version].result("machine", "up")
    assert up is not None, boots[version].console[-3000:]
    assert up["kernel"].startswith(f"{version}.")
    assert boots[version].result("machine", "done") is not None, boots[version].console[-3000:]


@pytest.mark.parametrize(("version", "scenario"), QUESTIONS)
def test_on_this_kernel(boots: dict[str, Boot], version: str, scenario: str):
    result = boots[version].result("scenario", scenario)
    assert result is not None, f"never played: {boots[version].console[-3000:]}"
    assert result["passed"], result.get("failure")
