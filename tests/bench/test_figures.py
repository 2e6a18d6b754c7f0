"""What a figure says of its samples, and what the command line refuses."""

import pytest
from typer.testing import CliRunner

from outrider.lab.bench import app
from outrider.lab.bench.figure import KINDS, Figure, percentile


def test_every_figure_of_the_contract_is_known() -> None:
    assert set(KINDS) >= {
        "arm_ms", "switch_call_ms", "switch_effect_ms", "tcp_local_over_direct", "tcp_remote_over_direct",
        "tcp_local_over_static", "tcp_remote_over_static", "frames_before_arming", "rtt_added_us",
        "appliance_cold_ms", "handover_ms",
    }  # fmt: skip


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_the_value_is_what_the_goal_is_about() -> None:
    assert Figure.of("arm_ms", [1.0] * 99 + [80.0], at_once=1).value == 1.0
    assert Figure.of("arm_ms", [1.0] * 98 + [80.0] * 2, at_once=1).value == 80.0
    assert Figure.of("frames_before_arming", [0, 2, 1]).value == 3
    assert Figure.of("tcp_local_over_direct", [0.8, 0.95, 0.9]).value == 0.9


def test_a_goal_holds_for_the_conditions_it_was_set_for() -> None:
    through_bridge = Figure.of("tcp_local_over_direct", [0.95], appliance="bridge-null", format="container")
    through_engine = Figure.of("tcp_local_over_direct", [0.4], appliance="suricata", format="container")
    assert through_bridge.goal is not None
    assert through_bridge.goal.is_met(through_bridge.value)
    assert through_engine.goal is None


def test_a_figure_without_samples_is_none() -> None:
    with pytest.raises(ValueError, match="no samples"):
        Figure.of("rtt_added_us", [])


def test_an_unknown_figure_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(app, ["tcp_speed"], standalone_mode=False)
    assert result.return_value == 2
    assert "there is no figure 'tcp_speed'" in result.stderr
    assert "arm_ms" in result.stderr


def test_a_file_that_cannot_be_written_is_said_before_a_minute_has_passed() -> None:
    result = CliRunner().invoke(app, ["--json", "/nowhere/figures.json"], standalone_mode=False)
    assert result.return_value in (2, 6)
    assert len(result.stderr.splitlines()) == 1
