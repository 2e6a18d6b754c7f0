"""The appliance classes that come with Outrider, as manifests: an example to copy, and read by the same code.

A class declared by a user under the same name takes the built-in one's place.
"""

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

from outrider.domain.appliance import ApplianceClass
from outrider.manifests.convert import Declared
from outrider.manifests.read import read_text


@lru_cache(maxsize=1)
def builtin_classes() -> tuple[ApplianceClass, ...]:
    """The appliance classes known without anyone declaring them, in order of name."""
    manifests = sorted(
        (file for file in files(__name__).iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name
    )
    values = [document.value for file in manifests for document in read_text(file.read_text(), file.name)]
    return tuple(value for value in values if isinstance(value, ApplianceClass))


def with_builtins(declared: Iterable[Declared]) -> tuple[Declared, ...]:
    """``declared`` and those built-in classes whose names it does not use itself."""
    values = tuple(declared)
    taken = {value.name for value in values if isinstance(value, ApplianceClass)}
    return tuple(each for each in builtin_classes() if each.name not in taken) + values
