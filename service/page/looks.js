// How a photograph is to be colored: a frozen record, and the queries that it makes. Nothing here knows the page.

export const MOST_POINTS = 64;

export const defaults = Object.freeze({
  look: "natural", mode: "annealed", vividness: 0.5, temperature: null, saturation: 1, size: "", tone: "auto", enlargement: "bilinear",
  variant: 1, hints: Object.freeze([]), reference: null, strength: 0.5,
});

/** What is only looked at needs nothing beside its pixels. */
export const PREVIEW = Object.freeze({ format: "jpeg", metadata: "none", note: false });

/** What the network is asked of a look, as a query: its answer serves all looks that ask the same. */
export const seenAs = ({ size, tone }) => String(new URLSearchParams({ ...(size && { size }), ...(tone !== "auto" && { tone }) }));

/** Return a point as the service wants it. */
export const hintText = ({ x, y, color }) => `${x.toFixed(4)},${y.toFixed(4)},${color.slice(1)}`;

/** Make the query of an answer. Only what differs from the service's own defaults goes in. */
export function queryOf(look) {
  const query = new URLSearchParams({ vividness: look.vividness });
  for (const name of ["look", "mode", "temperature", "saturation", "enlargement", "variant"]) {
    if (look[name] !== defaults[name]) query.set(name, look[name]);
  }
  if (look.hints.length) query.set("hints", look.hints.map(hintText).join(";"));
  if (look.reference) query.set("reference_strength", look.strength);
  return String(query);
}

/** Make the wish of a photograph, { file, look }; another version of it where `variant` is given. */
export function wishOf({ file, look }, variant = look.variant) {
  const query = queryOf(variant === look.variant ? look : { ...look, variant });
  return Object.freeze({ file, seen: seenAs(look), query, reference: look.reference });
}
