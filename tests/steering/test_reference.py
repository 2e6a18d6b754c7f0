"""The reference page says what the code says."""

from pathlib import Path

import pytest

from outrider.pipeline import model
from outrider.steering import layout
from outrider.steering.build import build_programs
from outrider.steering.libbpf import LoadFailed, open_object
from outrider.steering.reference import main, render
from outrider.steering.tables import check_layout

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "datapath.md"


def test_the_page_is_in_step_with_the_code():
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "python -m outrider.steering.reference docs/reference/datapath.md"
    )


def test_it_is_written_where_it_is_asked_for(tmp_path: Path):
    assert main([str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == render()
    assert main(["one", "two"]) == 2


def test_reasons_have_the_same_names_in_programs_and_model():
    assert set(layout.REASONS) - {"none"} == {reason.value for reason in model.Reason}


def test_the_object_agrees_with_the_declared_layout(cache: Path):
    with open_object(build_programs(cache)) as opened:
        check_layout(opened)


def test_an_object_of_another_layout_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch):
    with open_object(build_programs(cache)) as opened:
        moved = layout.Record("step", layout.STEP.members[::-1])
        monkeypatch.setattr(layout, "RECORDS", (moved,))
        with pytest.raises(LoadFailed, match="another layout of struct step"):
            check_layout(opened)
        monkeypatch.setattr(layout, "RECORDS", ())
        monkeypatch.setattr(layout, "WIRE_COUNTS", {"first_egress": ""})
        with pytest.raises(LoadFailed, match="other values of enum wire_count"):
            check_layout(opened)


def test_what_is_no_object_is_refused(tmp_path: Path):
    broken = tmp_path / "broken.o"
    broken.write_bytes(b"no object")
    with pytest.raises(LoadFailed, match="not an object that libbpf can open"), open_object(broken):
        pass
