"""The wheel is complete: installed alone, away from the checkout, it runs the demo on the docs it carries."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command that must succeed, with nothing of this checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    run(*pip, "-w", folder, ROOT, cwd=folder)
    (built,) = folder.glob("penguiflow-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a new environment: the wheel is installed, what it needs is borrowed from here.

    Borrowed by a path file, which does not follow this environment's own path files: an editable install of
    this checkout stays out of sight.
    """
    place = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", place / "bin" / "python"]
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=place)
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


def test_the_wheel_carries_package_examples_and_docs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "penguiflow/__init__.py",
        "penguiflow/py.typed",
        "penguiflow/cli/__init__.py",
        "penguiflow/examples/08_folder_questions.py",
        "penguiflow/docs/rules.md",
        "penguiflow/docs/tutorial/first-flow.md",
    } <= names
    assert not [name for name in names if "/_build/" in name or name.endswith(".pyc") or "tests" in name]


def test_the_package_is_the_installed_one(installed: Path, tmp_path: Path) -> None:
    """Guards the other tests of this file against looking at the checkout."""
    where = run(
        installed / "python", "-c", "import penguiflow; print(penguiflow.__file__)", cwd=tmp_path
    ).stdout
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_the_demo_answers_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "penguiflow", "demo", cwd=tmp_path)
    assert done.stderr == ""
    asked, said = done.stdout.split("\n\n", 1)
    assert asked.endswith("/penguiflow/docs: What happens to a stream whose reader has gone?")
    assert said.startswith("No model was asked; the files say:\n\n- A stream whose last reader has gone ")
    assert "\n[1] rules.md, line " in said


def test_without_bm25s_the_demo_names_the_extra(installed: Path, tmp_path: Path) -> None:
    """An import of bm25s that fails stands for a machine without it."""
    hide = (
        "import sys; sys.modules['bm25s'] = None; from penguiflow.cli import main; sys.exit(main(['demo']))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [installed / "python", "-c", hide],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 2)
    assert "pip install 'penguiflow[demo]'" in done.stderr
    assert done.stderr.count("\n") == 1
