"""Find the flow that `module:flow` names, and the files that travel with the package.

Looks in the current folder first, then on the path. Whatever is not there, or can't be imported, is a
`CommandError` of one line; a flow that can't be built stays the `GraphError` that it is.
"""

import importlib
import importlib.util
import sys
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import penguiflow
from penguiflow import Flow, FlowError
from penguiflow.cli.errors import CommandError, one_line

EXITS = 'exits when it is imported; what only a script does belongs under if __name__ == "__main__"'


def load_flow(where: str) -> Flow:
    """Give the flow that `module:flow` names; `module` may be a dotted name or the path of a `.py` file."""
    name, _, attribute = where.rpartition(":")
    if not name or not attribute:
        raise CommandError(f"{where!r} does not say module:flow, such as my_module:flow or my_file.py:flow")
    module = load_file(Path(name)) if name.endswith(".py") else _import(name)
    try:
        found = attrgetter(attribute)(module)
    except AttributeError as error:
        raise CommandError(f"module {name!r} has no {attribute!r}{_flows_in(module)}") from error
    if not isinstance(found, Flow):
        kind = type(found).__name__
        raise CommandError(f"{where} is of type {kind}, and not a Flow{_flows_in(module)}")
    return found


def load_file(path: Path) -> ModuleType:
    """Import one Python file by its path; the modules beside it can be imported by it."""
    if not path.is_file():
        raise CommandError(f"there is no file {str(path)!r}")
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    _look_first_in(path.resolve().parent)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except FlowError:
        raise
    except Exception as error:
        raise CommandError(f"{str(path)!r} can't be loaded: {one_line(error)}") from error
    except SystemExit as error:
        raise CommandError(f"{str(path)!r} {EXITS}") from error
    return module


def shipped(name: str) -> Path:
    """Give a folder that travels with the package: in the wheel inside it, in a checkout beside it."""
    package = Path(penguiflow.__file__).parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise CommandError(f"this installation of penguiflow came without its {name!r}")


def _import(name: str) -> ModuleType:
    if name.startswith("."):
        raise CommandError(f"{name!r} is not the name of a module: give it without the leading dot")
    _look_first_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except FlowError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise CommandError(f"there is no module {name!r} in this folder or on the path") from error
        raise CommandError(f"module {name!r} can't be loaded: {one_line(error)}") from error
    except Exception as error:
        raise CommandError(f"module {name!r} can't be loaded: {one_line(error)}") from error
    except SystemExit as error:
        raise CommandError(f"module {name!r} {EXITS}") from error


def _look_first_in(folder: Path) -> None:
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def _flows_in(module: ModuleType) -> str:
    names = sorted(name for name, value in vars(module).items() if isinstance(value, Flow))
    return f"; it has the flows {', '.join(names)}" if names else "; it has no flow"
