"""The programs on the kernels that users have: Debian's 6.1, which knows only clsact, and 6.12, which has tcx.

Each kernel is booted once with the real backend inside, both at the same time; every scenario that it is for must have
written a result. The machine under test needs neither network nor disk.
"""

import os
from collections.abc import Mapping
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

CACHE = Path(os.environ.get("OUTRIDER_CACHE", "/var/cache/outrider"))
HOOKS = {"6.1": CLSACT, "6.12": TCX}
DEADLINE_S = 240.0  # of one boot; both take half a minute on a machine with nothing else to do
CASES = [(series, each.name) for series, hooks in HOOKS.items() for each in scenarios_for(hooks)]


@pytest.fixture(scope="module")
def boots(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Boot]:
    """What the machine of each kernel wrote."""
    folders = {series: tmp_path_factory.mktemp(f"linux-{series}") for series in HOOKS}
    kernels = {series: fetch_kernel(series, CACHE) for series in HOOKS}
    programs = build_programs(CACHE)
    for series, folder in folders.items():
        build_world(kernels[series], HOOKS[series], programs, CACHE, folder / "world")

    def start(series: str) -> Boot:
        return boot(kernels[series].image, folders[series] / "world", folders[series], DEADLINE_S)

    with ThreadPoolExecutor(len(HOOKS)) as pool:
        return dict(zip(HOOKS, pool.map(start, HOOKS), strict=True))


@pytest.mark.parametrize(("series", "scenario"), CASES)
def test_on_the_kernel(boots: Mapping[str, Boot], series: str, scenario: str):
    made = boots[series]
    result = made.result("scenario", scenario)
    assert result is not None, f"no result from inside; the console ends:\n{made.console[-2000:]}"
    assert result["passed"], result["failure"]


@pytest.mark.parametrize("series", HOOKS)
def test_the_machine_ran_the_kernel_asked_for_to_its_end(boots: Mapping[str, Boot], series: str, record_property):
    made = boots[series]
    record_property("boot_to_power_off_s", round(made.seconds, 1))
    up = made.result("machine", "up")
    assert up is not None and up["kernel"].startswith(f"{series}."), made.console[-2000:]
    assert made.result("machine", "done") is not None, made.console[-2000:]
