"""Several versions of a photograph: where each of them goes."""

from collections.abc import Callable, Mapping
from pathlib import Path

from service.archive.answers import is_done
from service.archive.finding import PlanError, refuse_overwriting
from service.archive.kinds import is_film


def version_path(target: Path, version: int) -> Path:
    """Return where a version goes.

    Args:
        target: where the first one does, `name.png`.
        version: from 1; the second becomes `name-v2.png`.
    """
    return target if version == 1 else target.with_name(f"{target.stem}-v{version}{target.suffix}")


def are_done(count: int) -> Callable[[Path, Path], bool]:
    """Return what says of a source and a target whether so many versions are there; see `answers.is_done`.

    Args:
        count: of versions; of a film there is one.
    """

    def are_there(source: Path, target: Path) -> bool:
        wanted = 1 if is_film(source) else count
        return all(is_done(source, version_path(target, version)) for version in range(1, wanted + 1))

    return are_there


def refuse_collisions(plan: Mapping[Path, Path], count: int) -> None:
    """Refuse a plan in which a version would replace a source, or another answer.

    Args:
        plan: target by source.
        count: of versions.

    Raises:
        PlanError: it would.
    """
    names = {target: source for source, target in plan.items()}
    for version in range(2, count + 1):
        versions = {source: version_path(target, version) for source, target in plan.items() if not is_film(source)}
        refuse_overwriting(versions)
        for source, target in versions.items():
            if target in names:
                raise PlanError(
                    f"version {version} of {source} and the answer to {names[target]} would both be {target}"
                )
            names[target] = source
