"""`twistedkv check`: the verdict in words, as JSON, and as a drawing."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from twistedkv.cli import main
from twistedkv.cli.check import check_command

HEADER = '{"commit":"1f2e","seed":7,"faults":[{"at_ns":3,"fault":"kill server 1"}]}\n'
WRITE = (
    '{"process":1,"op":1,"key":"k","f":"write","args":["a"],"call_ns":1,"return_ns":2,"result":"ok","version":[1,1]}\n'
)
READ = '{"process":1,"op":2,"key":"k","f":"read","call_ns":3,"return_ns":4,"result":"ok","value":"a","version":[1,1]}\n'
NOTHING = '{"process":1,"op":2,"key":"k","f":"read","call_ns":3,"return_ns":4,"result":"ok","value":null}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history that is wrong."""
    path = tmp_path / "history.jsonl"
    path.write_text(HEADER + WRITE + NOTHING)
    return path


def check(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(check_command, [*map(str, arguments)], input=text)


def test_a_right_history_is_right(tmp_path: Path) -> None:
    checked = check("-", "--svg", tmp_path / "x.svg", text=WRITE + READ)
    assert checked.exit_code == 0
    assert checked.stdout == "2 operations on 1 keys\nby versions: no violation\nby search: no violation\n"
    assert "there is nothing to draw" in checked.stderr
    assert not (tmp_path / "x.svg").exists()


def test_a_wrong_history_is_refused_with_the_operations_that_show_it(path: Path) -> None:
    checked = check(path)
    assert checked.exit_code == 1
    assert checked.stdout.startswith("history of commit 1f2e, seed 7, 1 fault\n2 operations on 1 keys\n")
    assert "a key was not found although it was there all the time" in checked.stdout
    assert '    A  0 to 1  process 1 writes "a": done, version 1.1\n' in checked.stdout
    assert "B found nothing. But before it began it was known that A had made version 1.1" in checked.stdout
    assert checked.stderr == f"a drawing of it: twistedkv check {path} --svg violation.svg\n"


def test_it_is_drawn_where_the_user_says(path: Path, tmp_path: Path) -> None:
    svg = tmp_path / "violation.svg"
    checked = check(path, "--svg", svg)
    assert checked.exit_code == 1
    assert checked.stderr == f"{svg} shows key 'k'\n"
    texts = [element.text for element in ElementTree.parse(svg).getroot().iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "A key was not found although it was there all the time"
    assert "kill server 1" in texts


def test_a_drawing_that_cannot_be_written_is_one_sentence(path: Path, tmp_path: Path) -> None:
    checked = CliRunner().invoke(main, ["check", str(path), "--svg", str(tmp_path / "no" / "x.svg")])
    assert checked.exit_code == 2
    assert "cannot write" in checked.stderr
    assert "a key was not found" in checked.stdout


def test_json(path: Path) -> None:
    checked = check(path, "--json")
    assert checked.exit_code == 1
    verdict = json.loads(checked.stdout)
    assert verdict["linearizable"] is False
    assert (verdict["operations"], verdict["keys"], verdict["undecided"]) == (2, 1, [])
    assert (verdict["header"]["seed"], verdict["header"]["faults"]) == (7, [{"at": 3, "text": "kill server 1"}])
    for name in ("by_versions", "by_search"):
        [violation] = verdict[name]
        assert violation["key"] == "k"
        assert violation["operations"][-1]["call_ns"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + WRITE + "x", "line 3 is no operation of a history"),
        (WRITE + WRITE, "line 2 writes 'a' to k, as line 1 does"),
        (READ + READ, "line 2 is called by process 1 while its operation in line 1"),
        ('{"seed":[]}', "line 1 is no header of a history"),
    ],
)
def test_what_is_no_history_is_one_sentence_with_the_line(text: str, said: str) -> None:
    checked = CliRunner().invoke(main, ["check", "-"], input=text)
    assert checked.exit_code == 2
    assert said in checked.stderr
    assert not checked.stdout


def test_what_is_not_utf_8_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(WRITE.encode() + b"\xff\n")
    checked = CliRunner().invoke(main, ["check", str(path)])
    assert checked.exit_code == 2
    assert "not UTF-8" in checked.stderr


def test_an_empty_history_is_right() -> None:
    assert check("-", text="").exit_code == 0
