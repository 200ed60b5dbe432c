"""What ``photochrom colorize`` has to do, and what is known of the files that were named without doing it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from service.archive.kinds import is_film, unread_kind
from service.commands.places import Order, Place, RemoteService
from service.commands.shared import misuse

if TYPE_CHECKING:
    from service.archive.run import Outcome, Work


def plan_work(
    order: Order, place: Place, inputs: list[Path], out: Path, *, overwrite: bool
) -> "tuple[Work, Sequence[Outcome]]":
    """Return what there is to do, and what is known already of every other file.

    Args:
        order: how to color.
        place: where it is to be done.
        inputs: files, folders and patterns.
        out: folder of the answers.
        overwrite: whether answers that are there are made again.

    Returns:
        The work, and the outcomes of what is not in it: answers that are there, kinds that are not read, files that
        are no pictures, folders that cannot be searched.

    Raises:
        typer.Exit: it makes no sense; why was said.
    """
    from service.archive.pages import are_done as all_pages_done
    from service.archive.run import Work
    from service.archive.versions import are_done
    from service.engine.options import check_depth
    from service.errors import RequestError
    from service.pictures.answer_formats import SUFFIXES
    from service.pictures.size_limits import SizeLimits

    if order.query.format == "json":
        raise misuse("--format is png, jpeg, webp or tiff")
    answer_format = order.query.picture_format() or "png"
    try:
        check_depth(order.query.to_options(), answer_format)
    except RequestError as error:
        raise misuse(f"--depth: {error.detail}") from error
    plan, others, unlisted = _find(order, inputs, out, SUFFIXES[answer_format])
    plan, films = without_films(plan, inputs, place)
    told = [*films, *map(_of_other, sorted(others))]
    if not plan and not unlisted and not any(outcome.status == "unread" for outcome in told):
        raise misuse("there is no picture in what was named")
    is_there = all_pages_done if order.all_pages else are_done(order.query.variants)
    todo = {source: target for source, target in plan.items() if overwrite or not is_there(source, target)}
    skipped = [_of_answer(order, source, target) for source, target in plan.items() if source not in todo]
    # A service has limits of its own.
    limits = None if isinstance(place, RemoteService) else SizeLimits.of(order.settings)
    keep_sidecars = order.query.metadata == "keep"
    work = Work(todo, answer_format, keep_sidecars=keep_sidecars, limits=limits, all_pages=order.all_pages)
    return work, [*skipped, *told, *unlisted]


def _find(
    order: Order, inputs: list[Path], out: Path, suffix: str
) -> "tuple[dict[Path, Path], list[Path], list[Outcome]]":
    """Return where the answer of each picture goes, the files that are no pictures, the folders that stay closed."""
    from service.archive.finding import PlanError, plan_outputs
    from service.archive.run import Outcome, explain_folder
    from service.archive.versions import refuse_collisions

    unlisted: list[Outcome] = []
    others: list[Path] = []

    def on_unlisted(folder: Path, place: Path, error: OSError) -> None:
        problem, reason = explain_folder(error)
        unlisted.append(Outcome(folder, out / place, "failed", problem=problem, reason=reason))

    try:
        plan = plan_outputs(inputs, out, suffix=suffix, on_unlisted=on_unlisted, on_other=others.append)
        refuse_collisions(plan, order.query.variants)
    except PlanError as error:
        raise misuse(error) from error
    return plan, others, unlisted


def _of_other(path: Path) -> "Outcome":
    """Return what is to be said of a file that is not taken for a picture."""
    from service.archive.run import Outcome

    kind = unread_kind(path)
    if kind is None:
        return Outcome(path, None, "other")
    return Outcome(path, None, "unread", problem="unread-kind", reason=kind.reason)


def _of_answer(order: Order, source: Path, target: Path) -> "Outcome":
    """Return what is to be said of an answer that is there: with which options, where others are asked for now."""
    from service.archive.answers import other_options, words_of
    from service.archive.run import Outcome

    options, has_reference = order.query.to_options(), order.reference is not None
    look = order.looks.of_file(source) if order.looks and not is_film(source) else None
    if look is not None:
        options, has_reference = look.options_like(options), look.reference is not None
    if is_film(source):
        wanted = words_of(replace(options, hints=(), regions=(), variants=(1,)))
    else:
        wanted = words_of(options, has_reference=has_reference)
    other = other_options(target, wanted)
    notes = (f"made with {other}",) if other else ()
    return Outcome(source, target, "skipped", notes=notes, look=look.digest if look else "")


def without_films(plan: dict[Path, Path], named: list[Path], place: Place) -> "tuple[dict[Path, Path], list[Outcome]]":
    """Leave the films out where they cannot be colored.

    Args:
        plan: target by source.
        named: what was asked for by name.
        place: where it is to be done.

    Returns:
        What is left of the plan, and the outcomes of the films.

    Raises:
        typer.Exit: a film was asked for by name; why was said.
    """
    from service.archive.film_file import NoFilmSupport, require_support
    from service.archive.report import shown
    from service.archive.run import Outcome

    films = [source for source in plan if is_film(source)]
    why = place.refuses_films if films else ""
    if films and not why:
        try:
            require_support()
        except NoFilmSupport as error:
            why = str(error)
    if not why:
        return plan, []
    by_name, left_out = set(named), set(films)  # An archive has very many.
    if asked := [source for source in films if source in by_name]:
        raise misuse(f"{shown(asked[0])}: {why}")
    told = [Outcome(film, None, "unread", problem="not-possible-here", reason=why) for film in films]
    return {source: target for source, target in plan.items() if source not in left_out}, told
