"""The modules of the page that know nothing of it: what they answer, whatever the service does meanwhile."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, Route

from service.engine.hint_text import MAX_HINTS
from service.engine.region_text import MAX_MARKS, MAX_REGIONS, MAX_TEXT, parse_regions
from tests.e2e.page_driver import EXECUTABLE, running_browser

ROOT = Path(__file__).parents[3]
MODULES = ROOT / "service" / "page"
ADDRESS = "http://page.test/"

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed (see `make browser`)")

FAKE = """
const { makeAnswers, keyOf } = await import("/answers.js");

// A service whose calls wait until the test answers them.
function makeFake() {
  const calls = [];
  const call = (name, signal, facts) => new Promise((resolve, reject) => {
    const entry = { name, ...facts, signal, resolve, reject, isLeft: false };
    signal?.addEventListener("abort", () => { entry.isLeft = true; reject(new DOMException("left", "AbortError")); });
    calls.push(entry);
    for (const look of [...waiting]) look();
  });
  const waiting = new Set();
  const service = {
    keep: (file, seen, { signal }) => call("keep", signal, { file, seen }),
    render: (id, query, signal) => call("render", signal, { id, query }),
    sureness: (id, signal) => call("sureness", signal, { id }),
    colorize: (file, query, reference, { signal }) => call("colorize", signal, { file, query, reference }),
    forget: (id) => { calls.push({ name: "forget", id }); },
  };
  // The n-th call of a name, when it comes.
  const nth = (name, n = 1) => new Promise((resolve) => {
    const look = () => {
      const found = calls.filter((entry) => entry.name === name)[n - 1];
      if (found) { waiting.delete(look); resolve(found); }
    };
    waiting.add(look);
    look();
  });
  const count = (name) => calls.filter((entry) => entry.name === name).length;
  const forgotten = () => calls.filter(({ name }) => name === "forget").map(({ id }) => id);
  return { service, nth, count, calls, forgotten };
}
const problem = (status, kind) => Object.assign(new Error(kind), { status, kind });
const NO_ROOM = problem(413, "too-large-to-keep");
const GONE = problem(404, "picture-not-kept");
const file = (name) => ({ name });
const wish = (of, what) => Object.freeze({ file: of, seen: "", query: "vividness=0.5", reference: null, ...what });
const blob = (size = 1) => ({ size });
const named = (error) => (error.name === "AbortError" ? "left" : error.kind ?? String(error));
const fate = (promise) => promise.then(() => "came", named);
// All that follows from what has happened has happened once a message has gone round.
const settle = () => new Promise((resolve) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = resolve;
  port2.postMessage(0);
});
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """An empty page that can import the modules; no service is there."""

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(ADDRESS).partition("?")[0]
        if name:
            route.fulfill(body=(MODULES / name).read_text(), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    with running_browser() as browser:
        empty = browser.new_page()
        empty.route("**/*", serve)
        empty.goto(ADDRESS)
        yield empty


def run(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {FAKE}\n{script} }}")


def test_a_picture_is_posted_once_and_colored_as_often_as_it_is_wished(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = file("one");
        const both = [answers.answer(wish(one)), answers.answer(wish(one, { query: "vividness=1" }))];
        (await nth("keep")).resolve({ id: "A", width: 3 });
        for (const n of [1, 2]) (await nth("render", n)).resolve(blob(n));
        const blobs = await Promise.all(both);
        const sizes = blobs.map(({ size }) => size);
        return [count("keep"), count("render"), sizes, answers.facts(one), answers.isThere(wish(one))];
        """,
    )
    assert made == [1, 2, [1, 2], {"id": "A", "width": 3}, True]


def test_what_the_service_has_forgotten_is_posted_again(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const answer = answers.answer(wish(file("one")));
        (await nth("keep")).resolve({ id: "A" });
        (await nth("render")).reject(GONE);
        (await nth("keep", 2)).resolve({ id: "B" });
        const second = await nth("render", 2);
        second.resolve(blob(7));
        return [second.id, (await answer).size, count("keep"), count("colorize")];
        """,
    )
    assert made == ["B", 7, 2, 0]


def test_a_reference_that_pushes_its_photograph_out_goes_along_instead(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const [one, palette] = [file("one"), file("palette")];
        const wished = wish(one, { reference: palette });
        const answer = answers.answer(wished);
        for (const turn of [1, 2, 3]) {
          (await nth("keep", 2 * turn - 1)).resolve({ id: `photograph ${turn}` });
          (await nth("keep", 2 * turn)).resolve({ id: `palette ${turn}` });
          (await nth("render", turn)).reject(GONE);
        }
        const whole = await nth("colorize");
        whole.resolve({ blob: blob(9), facts: { width: 1 } });
        const { size } = await answer;
        return [size, whole.reference === palette, answers.isKept(wished), answers.isKept(wish(one)), count("keep")];
        """,
    )
    assert made == [9, True, False, True, 6]


def test_what_has_no_room_comes_whole_and_another_size_is_tried_again(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = file("one");
        const third = wish(one, { seen: "size=512", query: "vividness=0.5&variant=3" });
        const large = answers.answer(third, { max_side: 64 });
        (await nth("keep")).reject(NO_ROOM);
        const whole = await nth("colorize");
        whole.resolve({ blob: blob(5), facts: { width: 8 } });
        await large;
        const small = answers.answer(wish(one, { seen: "size=128" }));
        const kept = await nth("keep", 2);
        kept.resolve({ id: "A", width: 9 });
        (await nth("render")).resolve(blob());
        await small;
        return [whole.query, kept.seen, answers.facts(one).width, count("colorize"), answers.keepsAnything()];
        """,
    )
    assert made == ["vividness=0.5&format=png&size=512", "size=128", 9, 1, True]


def test_a_service_that_keeps_nothing_is_asked_once(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const first = answers.answer(wish(file("one")));
        (await nth("keep")).reject(problem(404, "picture-not-kept"));
        (await nth("colorize")).resolve({ blob: blob(1), facts: null });
        const second = answers.answer(wish(file("two")), {}, { whole: { format: "tiff" } });
        const whole = await nth("colorize", 2);
        whole.resolve({ blob: blob(2), facts: null });
        return [(await first).size, (await second).size, count("keep"), answers.keepsAnything(), whole.query];
        """,
    )
    assert made == [1, 2, 1, False, "vividness=0.5&format=tiff"]


def test_other_troubles_reach_whoever_asked(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = wish(file("one"));
        const both = [fate(answers.answer(one)), fate(answers.prepare(one))];
        (await nth("keep")).reject(problem(503, "overloaded"));
        const troubles = await Promise.all(both);
        const later = answers.prepare(one);
        (await nth("keep", 2)).resolve({ id: "A" });
        await later;
        return [troubles, answers.isThere(one)];
        """,
    )
    assert made == [["overloaded", "overloaded"], True]


@pytest.mark.parametrize("moment", ["on its way", "just come"])
def test_who_leaves_in_the_midst_leaves_nothing_behind(page: Page, moment: str) -> None:
    made = run(
        page,
        f"""
        const {{ service, nth, forgotten }} = makeFake();
        const answers = makeAnswers(service);
        const one = file("one");
        const answer = fate(answers.answer(wish(one)));
        const post = await nth("keep");
        if ("{moment}" === "just come") {{ post.resolve({{ id: "A" }}); }}
        answers.leave(one);
        const became = await answer;
        await settle();
        return [became, post.isLeft, forgotten(), answers.facts(one)];
        """,
    )
    assert made == ["left", True, ["A"] if moment == "just come" else [], None]


def test_who_comes_back_after_leaving_is_posted_anew(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = file("one");
        const before = fate(answers.answer(wish(one)));
        await nth("keep");
        answers.leave(one);
        const after = answers.answer(wish(one));
        (await nth("keep", 2)).resolve({ id: "B" });
        (await nth("render")).resolve(blob(4));
        return [await before, (await after).size, count("keep")];
        """,
    )
    assert made == ["left", 4, 2]


def test_of_sizes_wished_one_after_another_only_the_last_is_posted_next(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, calls, forgotten } = makeFake();
        const answers = makeAnswers(service);
        const one = file("one");
        let wanted = "size=512";
        const ask = (seen) => fate(answers.answer(wish(one, { seen }), {}, { holds: () => wanted === seen }));
        const fates = [ask("size=512")];
        const first = await nth("keep");
        wanted = "size=128"; fates.push(ask("size=128"));
        wanted = "size=256"; fates.push(ask("size=256"));
        await settle();
        const meanwhile = calls.length;
        first.resolve({ id: "A" });
        const second = await nth("keep", 2);
        second.resolve({ id: "B" });
        for (const n of [1, 2]) (await nth("render", n)).resolve(blob());
        return [meanwhile, second.seen, await Promise.all(fates), forgotten()];
        """,
    )
    assert made == [1, "size=256", ["came", "left", "came"], ["A"]]


def test_a_size_that_gave_way_while_it_is_saved_comes_whole(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = file("one");
        const large = wish(one, { seen: "size=512" });
        const saved = answers.answer(large);
        (await nth("keep")).resolve({ id: "A" });
        const old = await nth("render");
        const shown = answers.answer(wish(one, { seen: "size=128" }));
        (await nth("keep", 2)).resolve({ id: "B" });
        old.reject(GONE);
        (await nth("render", 2)).resolve(blob(2));
        const whole = await nth("colorize");
        whole.resolve({ blob: blob(3), facts: null });
        return [(await saved).size, (await shown).size, whole.query, count("keep"), answers.isKept(large)];
        """,
    )
    assert made == [3, 2, "vividness=0.5&format=png&size=512", 2, True]


def test_a_whole_answer_is_shared_and_given_up_when_the_last_one_leaves(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = wish(file("one"));
        const kept = fate(answers.prepare(one));
        (await nth("keep")).reject(NO_ROOM);
        const first = await nth("colorize");
        const [a, b] = [new AbortController(), new AbortController()];
        const asked = [a, b].map(({ signal }) => fate(answers.answer(one, {}, { signal })));
        await settle();
        a.abort();
        const early = await asked[0];
        const goesOn = !first.isLeft;
        first.resolve({ blob: blob(), facts: null });
        const others = await Promise.all([kept, asked[1]]);
        const alone = new AbortController();
        const last = fate(answers.answer(wish(one.file, { query: "vividness=1" }), {}, { signal: alone.signal }));
        const second = await nth("colorize", 2);
        alone.abort();
        return [early, goesOn, others, await last, second.isLeft, count("colorize"), answers.isThere(one)];
        """,
    )
    assert made == ["left", True, ["came", "came"], "left", True, 2, True]


def test_answers_at_full_size_go_when_they_take_too_much(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service, { wholeBytes: 100 });
        const one = file("one");
        const looks = [1, 2, 3].map((n) => wish(one, { query: `vividness=0.${n}` }));
        const ask = async (look, post) => {
          const answer = answers.answer(look);
          if (post === 1) (await nth("keep")).reject(NO_ROOM);
          if (post) (await nth("colorize", post)).resolve({ blob: blob(40), facts: null });
          await answer;
        };
        await ask(looks[0], 1);
        await ask(looks[1], 2);
        await ask(looks[0]); // Used again, so that the other one is the oldest.
        await ask(looks[2], 3);
        return [looks.map((look) => answers.isThere(look)), count("colorize")];
        """,
    )
    assert made == [[True, False, True], 3]


def test_where_it_is_sure_is_asked_once_for_each_size(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = file("one");
        const first = answers.sureness(wish(one));
        (await nth("keep")).resolve({ id: "A" });
        (await nth("sureness")).resolve(blob(3));
        const sizes = [(await first).size, (await answers.sureness(wish(one, { query: "vividness=1" }))).size];
        const other = answers.sureness(wish(one, { seen: "size=128" }));
        (await nth("keep", 2)).resolve({ id: "B" });
        (await nth("sureness", 2)).resolve(blob(4));
        return [...sizes, (await other).size, count("sureness")];
        """,
    )
    assert made == [3, 3, 4, 2]


def test_what_is_let_go_at_the_end_can_be_asked_for_again(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, calls } = makeFake();
        const answers = makeAnswers(service);
        const one = wish(file("one"));
        const first = answers.prepare(one);
        (await nth("keep")).resolve({ id: "A" });
        await first;
        answers.forgetAll();
        const after = answers.answer(one);
        (await nth("keep", 2)).resolve({ id: "B" });
        (await nth("render")).resolve(blob(6));
        return [(await after).size, calls.map(({ name, id }) => (name === "forget" ? `forget ${id}` : name))];
        """,
    )
    assert made == [6, ["keep", "forget A", "keep", "render"]]


def test_history_undoes_redoes_and_takes_a_stroke_as_one(page: Page) -> None:
    made = run(
        page,
        """
        const { makeHistory } = await import("/decisions.js");
        const history = makeHistory("start", 3);
        for (const value of ["a", "b", "c"]) history.decide(value, "slide", { stroke: "slider", at: 7 });
        history.endStroke();
        history.decide("d", "slide", { stroke: "slider" });
        const undone = [history.undo(), history.now(), history.undo(), history.now(), history.undo()];
        const redone = [history.redo().label, history.now(), history.labels()];
        history.decide("e", "other");
        const after = [history.redo(), history.labels()];
        for (const value of ["f", "g", "h", "i"]) history.decide(value, value);
        let steps = 0;
        while (history.undo()) steps++;
        return { undone, redone, after, steps, last: history.now() };
        """,
    )
    assert made["undone"] == [{"label": "slide", "at": None}, "c", {"label": "slide", "at": 7}, "start", None]
    assert made["redone"] == ["slide", "c", {"undo": "slide", "redo": "slide"}]
    assert made["after"] == [None, {"undo": "other", "redo": ""}]
    assert (made["steps"], made["last"]) == (3, "f")


def test_a_query_names_only_what_differs_from_the_service(page: Page) -> None:
    made = run(
        page,
        """
        const { defaults, queryOf, seenAs, wishOf } = await import("/looks.js");
        const one = file("one");
        const look = { ...defaults, mode: "fused", temperature: 0.4, variant: 2, size: "128", tone: "off",
          hints: [{ x: 0.25, y: 1, color: "#3060c0" }], reference: file("palette"), strength: 0.75 };
        const same = [wishOf({ file: one, look: defaults }), wishOf({ file: one, look: { ...defaults } })].map(keyOf);
        const keys = new Set([{}, { saturation: 2 }, { size: "128" }, { reference: one }].map(
          (what) => keyOf(wishOf({ file: one, look: { ...defaults, ...what } }))));
        return [queryOf(defaults), queryOf(look), seenAs(defaults), seenAs(look), same[0] === same[1], keys.size];
        """,
    )
    hints = "hints=0.2500%2C1.0000%2C3060c0&reference_strength=0.75"
    assert made == [
        "vividness=0.5",
        f"vividness=0.5&mode=fused&temperature=0.4&variant=2&{hints}",
        "",
        "size=128&tone=off",
        True,
        4,
    ]


def test_regions_are_written_as_the_service_reads_them(page: Page) -> None:
    made = run(
        page,
        """
        const { defaults, queryOf, regionText } = await import("/looks.js");
        const click = { points: [[0.5, 0.25]], radius: 0.012, away: false };
        const stroke = { points: [[0, 1], [0.12345, 0.6]], radius: 0.1, away: true };
        const regions = [{ color: "#c03020", strength: 0.8, marks: [click, stroke] },
          { color: "#808080", strength: 1, marks: [click] }];
        return [regions.map(regionText), queryOf({ ...defaults, regions })];
        """,
    )
    texts = ["c03020@0.8/0.500,0.250,0.012/~0.000,1.000,0.123,0.600,0.100", "808080/0.500,0.250,0.012"]
    assert made[0] == texts
    assert parse_qs(made[1])["regions"] == [";".join(texts)]
    first, second = parse_regions(";".join(texts))
    assert (first.strength, first.marks[1].takes_away, first.marks[0].points) == (0.8, True, ((0.5, 0.25),))
    assert second.ab == pytest.approx((0, 0), abs=0.01)


def test_more_than_the_service_takes_is_told(page: Page) -> None:
    made = run(
        page,
        """
        const { excessOf } = await import("/looks.js");
        const click = { points: [[0.5, 0.25]], radius: 0.012, away: false };
        const region = (...marks) => ({ color: "#c03020", strength: 1, marks });
        const many = (count, one) => Array.from({ length: count }, () => one);
        const long = { ...click, points: many(400, [0.5, 0.5]) };
        return [
          { hints: many(64, {}), regions: many(16, region(click)) }, { hints: many(65, {}), regions: [] },
          { hints: [], regions: many(17, region(click)) }, { hints: [], regions: [region(...many(64, click))] },
          { hints: [], regions: [region(...many(65, click))] }, { hints: [], regions: [region(...many(3, long))] },
          { hints: [], regions: [region(...many(4, long))] },
        ].map(excessOf);
        """,
    )
    room = "There is no room for more clicks and strokes: undo some, or remove a region."
    assert made == [
        "",
        "There can be 64 points at most: remove one first.",
        "There can be 16 regions at most: remove one first.",
        "",
        room,
        "",
        room,
    ]
    assert (MAX_HINTS, MAX_REGIONS, MAX_MARKS, MAX_TEXT) == (64, 16, 64, 16_384)


@pytest.mark.parametrize("count", [0, 1, 55, 56, 63, 64, 65, 1000])
def test_a_digest_is_the_same_without_the_help_of_the_browser(page: Page, count: int) -> None:
    data = bytes(index * 37 % 256 for index in range(count))
    made = run(page, f"return (await import('/digest.js')).sha256(Uint8Array.from({list(data)}));")
    assert made == hashlib.sha256(data).hexdigest()


def test_a_digest_of_a_file_comes_over_plain_http_as_well(page: Page) -> None:
    made = run(page, "return [isSecureContext, await (await import('/digest.js')).digestOf(new Blob(['abc']))];")
    assert made == [False, hashlib.sha256(b"abc").hexdigest()]


def test_with_what_is_forgotten_goes_what_was_used_before_it(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, calls } = makeFake();
        const answers = makeAnswers(service);
        const files = ["one", "two", "three"].map(file);
        let posts = 0;
        for (const each of files) {
          const kept = answers.prepare(wish(each));
          (await nth("keep", ++posts)).resolve({ id: each.name });
          await kept;
        }
        const answer = answers.answer(wish(files[1]));
        (await nth("render")).reject(GONE);
        (await nth("keep", 4)).resolve({ id: "two again" });
        (await nth("render", 2)).resolve(blob());
        await answer;
        return files.map((each) => answers.isThere(wish(each)));
        """,
    )
    assert made == [False, True, True]


def test_what_is_wanted_anew_is_posted_whole_and_not_remembered(page: Page) -> None:
    made = run(
        page,
        """
        const { service, nth, count } = makeFake();
        const answers = makeAnswers(service);
        const one = wish(file("one"));
        const kept = answers.prepare(one);
        (await nth("keep")).resolve({ id: "A" });
        await kept;
        const how = { anew: true, whole: { format: "png" } };
        const anew = answers.answer(one, {}, how);
        (await nth("colorize")).resolve({ blob: blob(5), facts: null });
        const other = answers.answer(wish(one.file, { query: "vividness=0.5&variant=2" }), {}, how);
        (await nth("render")).resolve(blob(6));
        return [(await anew).size, (await other).size, answers.whole(one), count("colorize")];
        """,
    )
    assert made == [5, 6, None, 1]


def archive_of(page: Page, limits: str, files: dict[str, str]) -> zipfile.ZipFile:
    """Return the archive that the page makes of files, name by text."""
    data = run(
        page,
        f"""
        const archive = (await import("/zip.js")).makeZip({limits});
        for (const [name, text] of Object.entries({json.dumps(files)})) await archive.add(name, new Blob([text]));
        const made = archive.end();
        return [made.type, [...new Uint8Array(await made.arrayBuffer())]];
        """,
    )
    assert data[0] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(bytes(data[1])))


FILES = {"a.txt": "short", "größer/b.txt": "x" * 300, "größer/c.txt": "", "d.txt": "after"}


@pytest.mark.parametrize(
    ("limits", "versions", "is_large"),
    [
        ("{}", [20, 20, 20, 20], False),
        ("{ most: 100 }", [20, 45, 45, 45], True),  # b is too large, c and d lie too far behind, as 4 GB would be
        ("{ mostFiles: 3 }", [20, 20, 20, 20], True),
    ],
)
def test_an_archive_has_room_for_any_number_of_bytes_and_files(
    page: Page, limits: str, versions: list[int], is_large: bool
) -> None:
    with archive_of(page, limits, FILES) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name).decode() for name in archive.namelist()} == FILES
        assert [info.extract_version for info in archive.infolist()] == versions
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        raw = archive.fp.read() if archive.fp and not archive.fp.seek(0) else b""
    assert (b"PK\x06\x06" in raw, b"PK\x06\x07" in raw) == (is_large, is_large)


def test_an_empty_archive_is_one(page: Page) -> None:
    assert archive_of(page, "{}", {}).namelist() == []


def test_what_is_laid_on_the_shelf_stays_readable_and_leaves_nothing_behind(page: Page) -> None:
    made = run(
        page,
        """
        const { makeShelf } = await import("/shelf.js");
        const shelf = makeShelf(5);
        const blobs = [new Blob(["first"], { type: "text/plain" }), new Blob(["second"], { type: "image/png" })];
        const laid = [await shelf.lay(blobs[0]), await shelf.lay(blobs[1])];
        const request = indexedDB.open("photochrom-shelf");
        const base = await new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
        const counted = base.transaction("blobs").objectStore("blobs").count();
        const left = await new Promise((resolve) => { counted.onsuccess = () => resolve(counted.result); });
        base.close();
        const texts = await Promise.all(laid.map((each) => each.text()));
        return [laid.map((each, i) => each === blobs[i]), texts, laid.map(({ type }) => type), left];
        """,
    )
    assert made == [[True, False], ["first", "second"], ["text/plain", "image/png"], 0]


def test_without_a_database_blobs_stay_as_they_are(page: Page) -> None:
    made = run(
        page,
        """
        const open = IDBFactory.prototype.open;
        IDBFactory.prototype.open = () => { throw new DOMException("no", "SecurityError"); };
        const { makeShelf } = await import("/shelf.js?without");
        const one = new Blob(["one"]);
        const laid = await makeShelf(0).lay(one);
        IDBFactory.prototype.open = open;
        return laid === one;
        """,
    )
    assert made is True
