"""Finding and reading the files that launch files include."""

from pathlib import Path

from mola_core.launching.context import LaunchContext
from mola_core.launching.description import Description, Include
from mola_core.launching.errors import LaunchFileError
from mola_core.launching.parsing import parse_launch_file


def included_description(include: Include, context: LaunchContext) -> Description:
    """The file that ``include`` names now.

    Raises:
        LaunchFileError: there is no such file, it is not XML by its name, or its content is wrong.
    """
    path = Path(include.file.evaluate(context)).absolute()
    if not path.is_file():
        raise include.file.error(f"launch file {path} does not exist")
    if path.suffix not in {".xml", ".launch"}:
        raise LaunchFileError(include.where, f"only XML launch files are supported, got {path.name}")
    return parse_launch_file(path)
