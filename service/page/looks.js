// How a photograph is to be colored: a frozen record, and the queries that it makes. Nothing here knows the page.

export const MOST_POINTS = 64;
const MOST_REGIONS = 16;
const MOST_MARKS = 64; // Of one region.
const MOST_TEXT = 16384; // Of all regions, as the service wants them.

export const defaults = Object.freeze({
  look: "natural", mode: "annealed", vividness: 0.5, temperature: null, saturation: 1, size: "", tone: "auto", enlargement: "bilinear",
  variant: 1, hints: Object.freeze([]), regions: Object.freeze([]), reference: null, strength: 0.5,
});

/** What is only looked at needs nothing beside its pixels. */
export const PREVIEW = Object.freeze({ format: "jpeg", metadata: "none", note: false });

/** What the network is asked of a look, as a query: its answer serves all looks that ask the same. */
export const seenAs = ({ size, tone }) => String(new URLSearchParams({ ...(size && { size }), ...(tone !== "auto" && { tone }) }));

/** Return a point as the service wants it. */
export const hintText = ({ x, y, color }) => `${x.toFixed(4)},${y.toFixed(4)},${color.slice(1)}`;

/** Return a mark, { points, radius, away }, as the service wants it: a click, or a stroke. */
const markText = ({ points, radius, away }) =>
  (away ? "~" : "") + [...points.flat(), radius].map((share) => share.toFixed(3)).join(",");

/** Return a region, { color, strength, marks }, as the service wants it. */
export const regionText = ({ color, strength, marks }) =>
  [color.slice(1) + (strength < 1 ? `@${strength}` : ""), ...marks.map(markText)].join("/");

const regionsText = (regions) => regions.map(regionText).join(";");

/** Say what of a look is more than the service takes; nothing where all is well. */
export function excessOf({ hints, regions }) {
  if (hints.length > MOST_POINTS) return `There can be ${MOST_POINTS} points at most: remove one first.`;
  if (regions.length > MOST_REGIONS) return `There can be ${MOST_REGIONS} regions at most: remove one first.`;
  const isLong = regions.some(({ marks }) => marks.length > MOST_MARKS) || regionsText(regions).length > MOST_TEXT;
  return isLong ? "There is no room for more clicks and strokes: undo some, or remove a region." : "";
}

/** Make the query of an answer. Only what differs from the service's own defaults goes in. */
export function queryOf(look) {
  const query = new URLSearchParams({ vividness: look.vividness });
  for (const name of ["look", "mode", "temperature", "saturation", "enlargement", "variant"]) {
    if (look[name] !== defaults[name]) query.set(name, look[name]);
  }
  if (look.hints.length) query.set("hints", look.hints.map(hintText).join(";"));
  if (look.regions.length) query.set("regions", regionsText(look.regions));
  if (look.reference) query.set("reference_strength", look.strength);
  return String(query);
}

/** Make the wish of a photograph, { file, look }; another version of it where `variant` is given. */
export function wishOf({ file, look }, variant = look.variant) {
  const query = queryOf(variant === look.variant ? look : { ...look, variant });
  return Object.freeze({ file, seen: seenAs(look), query, reference: look.reference });
}
