// What the page knows: what has been decided of which photographs, which of them is on the screen, and how far each is.
// Whatever changes any of it calls `changed`; then everything is drawn, and what is missing is asked for.

import { makeHistory } from "./decisions.js";

export const history = makeHistory(Object.freeze([]));

/** What is only of this moment: nothing of it can be undone. */
export const screen = {
  current: null, cover: "", overlay: false, grid: false, saving: false, versions: 4, large: false,
  placing: false, dropping: false, // Whether a click fixes or takes a color;
  tool: "point", radius: 0.03, away: false, // by what: point, region or brush, how thick, and whether it takes away;
  spot: null, cross: null, // the point or region whose colors are open; and where keys click.
};

const records = new Map(); // Key of a photograph -> how far it is.
let serial = 0;

export const photos = () => history.now();
export const photoOf = (key) => photos().find((photo) => photo.key === key);
export const current = () => photoOf(screen.current);
export const isHere = (photo) => Boolean(photoOf(photo.key));
export const newKey = () => ++serial;

/** Return how far a photograph is: { url, size, thumb, thumbKey, working, progress, note, error }. */
export const about = ({ key }) => records.get(key);

/** Keep records of those photographs only that are here; `enter` and `leave` hear of who comes and goes. */
export function keepRecords(enter, leave) {
  const here = new Set(photos().map((photo) => photo.key));
  for (const [key, record] of records) {
    if (here.has(key)) continue;
    records.delete(key);
    leave(record);
  }
  for (const photo of photos()) {
    if (records.has(photo.key)) continue;
    const record = { photo, left: new AbortController(), url: "", size: null, thumb: null, thumbKey: "", shown: "",
      working: "", progress: 0, note: "", error: null };
    records.set(photo.key, record);
    enter(photo, record);
  }
}

const listeners = [];
let isDue = false;

/** Have a function called after every change, in the order of these calls. */
export const onChange = (listener) => { listeners.push(listener); };

/** Say that something has changed. All that is said in one go is drawn once. */
export function changed() {
  if (isDue) return;
  isDue = true;
  queueMicrotask(() => {
    isDue = false;
    for (const listener of listeners) listener();
  });
}

/** Decide something about all photographs: `of` makes the new list of the old one. */
export function decide(label, of, { at = screen.current, ...how } = {}) {
  history.decide(Object.freeze(of(photos())), label, { at, ...how });
  changed();
}

/** Change the look of one photograph, or of several. */
export function change(label, what, { keys = [screen.current], ...how } = {}) {
  if (!keys.some((key) => photoOf(key))) return;
  decide(label, (all) => all.map((photo) => (keys.includes(photo.key)
    ? Object.freeze({ ...photo, look: Object.freeze({ ...photo.look, ...what }) }) : photo)), how);
}
