"""The hook's script, run as libvirt runs it, against an agent's socket; and putting it in place."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypervisors.fake_agent import FakeAgent
from outrider.hypervisors import hook

XML = "<domain><name>g</name></domain>"


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    hook.install_hook(tmp_path / "a.sock", tmp_path / "hooks", deadline_s=1.0)
    return tmp_path / "hooks"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    agent = FakeAgent(tmp_path / "a.sock")
    yield agent
    agent.close()


def run_hook(hooks: Path, operation: str = "start", stage: str = "begin") -> subprocess.CompletedProcess[str]:
    command = [str(hooks / "qemu.d" / hook.HOOK_NAME), "g", operation, stage, "-"]
    return subprocess.run(command, input=XML, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin"})


def test_a_start_is_let_through_when_the_agent_has_armed_the_ports(hooks: Path, agent: FakeAgent) -> None:
    done = run_hook(hooks)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert agent.asked("arm") == [{"op": "arm", "phase": "start begin", "xml": XML}]


def test_a_start_is_refused_in_the_agents_words(hooks: Path, agent: FakeAgent) -> None:
    agent.answer = {"ok": False, "error": "vnet0 has an ingress qdisc"}
    done = run_hook(hooks)
    assert done.returncode == 1
    assert done.stderr == "Outrider does not let g start: vnet0 has an ingress qdisc\n"


def test_a_silent_agent_refuses_the_start_at_the_deadline(hooks: Path, agent: FakeAgent) -> None:
    agent.silent = True
    began = time.monotonic()
    done = run_hook(hooks)
    assert done.returncode == 1
    assert done.stderr == "Outrider does not let g start: the agent did not arm its ports within 1 s\n"
    assert 0.9 < time.monotonic() - began < 3


def test_an_agent_that_is_not_there_refuses_the_start(hooks: Path) -> None:
    done = run_hook(hooks)
    assert done.returncode == 1
    assert "the agent cannot be reached at" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[]\n", b'{"ok": "yes"}\n', b"7\n"])
def test_an_answer_that_is_no_acknowledgement_refuses_the_start(hooks: Path, tmp_path: Path, answer: bytes) -> None:
    agent = FakeAgent(tmp_path / "a.sock", garbage=answer or b"\n")
    done = run_hook(hooks)
    agent.close()
    assert done.returncode == 1
    assert done.stderr.startswith("Outrider does not let g start: ") and done.stderr.count("\n") == 1


def test_settings_that_cannot_be_read_refuse_the_start(hooks: Path) -> None:
    (hooks / hook.SETTINGS_NAME).write_text("{")
    done = run_hook(hooks)
    assert done.returncode == 1 and "settings" in done.stderr and "Traceback" not in done.stderr


OTHER_PHASES = [("prepare", "begin"), ("started", "begin"), ("stopped", "end"), ("migrate", "begin")]


@pytest.mark.parametrize("phase", OTHER_PHASES)
def test_other_phases_are_news_and_never_fail(hooks: Path, agent: FakeAgent, phase: tuple[str, str]) -> None:
    assert run_hook(hooks, *phase).returncode == 0
    deadline = time.monotonic() + 2
    while not agent.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    assert agent.asked("changed")[0]["phase"] == " ".join(phase)


def test_other_phases_do_not_fail_without_an_agent(hooks: Path) -> None:
    assert run_hook(hooks, "stopped", "end").returncode == 0


def test_installing_touches_no_foreign_hook_and_uninstalling_takes_only_ours(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    (hooks / "qemu.d").mkdir(parents=True)
    foreign = [hooks / "qemu", hooks / "qemu.d" / "10-theirs"]
    for file in foreign:
        file.write_text("#!/bin/sh\n")
    assert not hook.is_installed(hooks)
    script = hook.install_hook(Path("/run/outrider/agent.sock"), hooks)
    assert hook.is_installed(hooks)
    assert script.stat().st_mode & 0o777 == 0o755
    assert json.loads((hooks / hook.SETTINGS_NAME).read_text())["socket"] == "/run/outrider/agent.sock"
    hook.uninstall_hook(hooks)
    hook.uninstall_hook(hooks)
    assert not hook.is_installed(hooks)
    assert [file.read_text() for file in foreign] == ["#!/bin/sh\n"] * 2


def test_a_foreign_script_of_our_name_is_left_alone(tmp_path: Path) -> None:
    script = tmp_path / "hooks" / "qemu.d" / hook.HOOK_NAME
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    with pytest.raises(hook.HookRefused, match="is not Outrider's"):
        hook.install_hook(Path("/x"), tmp_path / "hooks")
    with pytest.raises(hook.HookRefused, match="is not Outrider's"):
        hook.uninstall_hook(tmp_path / "hooks")
    assert script.read_text() == "#!/bin/sh\n"
