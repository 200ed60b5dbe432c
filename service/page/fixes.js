// Colors that somebody fixes, by points (`hints`) and regions (`regions`) of a look, and the one that is open: its card is.

import { say } from "./dom.js";
import { excessOf } from "./looks.js";
import { change, changed, current, screen } from "./state.js";
import { anchorOf } from "./view.js";

const WORDS = { hints: "point", regions: "region" };

/** What is fixed of the photograph on the screen, of one kind. */
export const fixed = (kind) => current()?.look[kind] ?? [];

/** What is open, if it has been given a color. */
export const fixOf = (spot) => fixed(spot.kind)[spot.index ?? -1];

export const within = (share) => Math.min(1, Math.max(0, share));

/** Fix other points or regions; false where they are too many. */
function put(kind, label, fixes, how) {
  const excess = excessOf({ ...current().look, [kind]: fixes });
  if (excess) say(excess);
  else change(label, { [kind]: Object.freeze(fixes.map(Object.freeze)) }, how);
  return !excess;
}

export const addFix = (kind, fix) => put(kind, kind === "hints" ? "a color fixed" : "a region colored", [...fixed(kind), fix]);

/** Change the point or region of an index. */
export const alterFix = (kind, index, what, how) =>
  put(kind, `a ${WORDS[kind]} changed`, fixed(kind).map((fix, i) => (i === index ? { ...fix, ...what } : fix)), how);

export function removeFix(kind, index) {
  put(kind, `a ${WORDS[kind]} removed`, fixed(kind).filter((_, i) => i !== index));
  say(`The ${WORDS[kind]} is removed.`, { undo: true });
}

/** Show the colors of a place: of a point by its index, or of a new one. */
export function openPoint(x, y, index = null) {
  if (x !== within(x) || y !== within(y)) return;
  screen.spot = { key: screen.current, kind: "hints", index, x, y };
  say("");
  changed();
}

/** Open a region again: clicks and strokes go into it. */
export function openRegion(index) {
  screen.spot = { key: screen.current, kind: "regions", index, ...anchorOf(fixed("regions")[index]) };
  Object.assign(screen, { placing: true, away: false, tool: screen.tool === "point" ? "region" : screen.tool });
  say("");
  changed();
}

const openMarks = () => (screen.spot?.kind === "regions" ? (fixOf(screen.spot)?.marks ?? screen.spot.marks) : null);

/** Return the region that is open, { color, strength, marks }; without a color as long as it was given none. */
export const regionNow = () => (openMarks() ? fixOf(screen.spot) ?? screen.spot : null);

/** Put a click or stroke into the region that is open, or begin one with it. */
export function mark(points, { radius, away }) {
  const before = openMarks();
  if (!before && away) return say("Begin with what belongs to the region.");
  const marks = Object.freeze([...(before ?? []), Object.freeze({ points, radius, away })]);
  const excess = excessOf({ hints: [], regions: [...fixed("regions"), { color: "#808080", strength: 1, marks }] });
  if (before && screen.spot.index !== null) alterFix("regions", screen.spot.index, { marks });
  else if (excess) say(excess);
  else if (before) screen.spot.marks = marks;
  else {
    screen.spot = { key: screen.current, kind: "regions", index: null, ...anchorOf({ marks }), strength: 1, marks };
    say("");
  }
  changed();
}

/** Take the last click back from a region that has no color yet; say whether there is one. */
export function unmark() {
  const { spot } = screen;
  if (!spot?.marks || spot.index !== null) return false;
  if (spot.marks.length > 1) spot.marks = spot.marks.slice(0, -1);
  else screen.spot = null;
  changed();
  return true;
}
