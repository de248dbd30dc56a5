"""The progress bar."""

import pytest

from twistedkv.cli.progress import progress_bar


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("loading", 10, shown=False) as bar:
        bar.advance(5, 1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [100.0, None])
def test_it_is_shown_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, total: float | None
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("twistedkv.cli.progress.UPDATE_SECONDS", 0)
    with progress_bar("loading", total, shown=True) as bar:
        bar.advance(50, 1234)
    out, err = capsys.readouterr()
    assert out == ""
    assert "1,234 records" in err
