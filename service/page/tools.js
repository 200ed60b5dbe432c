// How colors are fixed: by points, by regions that grow from clicks, or with a brush; by mouse, fingers or keys.

import { $, say } from "./dom.js";
import { mark, openPoint, within } from "./fixes.js";
import { changed, screen } from "./state.js";
import { dropAt } from "./swatches.js";
import { facts, placeOf } from "./view.js";

const CLICK = 0.012; // Radius of a click, in long sides of the photograph.
const TOLERANCE = 0.002; // So far the points of a stroke may be from where the brush was, as a share.
const MOST_POINTS = 200; // Of a stroke.
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP = {
  point: "Click on what has the wrong color: its surroundings follow.",
  region: "Click on a thing with the wrong color. More clicks add to it.",
  brush: "Paint over a thing with the wrong color.",
};
const help = () => say(HELP[screen.tool], { quiet: Boolean(screen.spot) });

function turn(placing, event) {
  Object.assign(screen, { placing, spot: null, cross: null });
  if (placing) help();
  if (placing && !event.detail) $("stage").focus(); // By a key: the next ones move the cross.
  changed();
}

$("fix").onclick = (event) => turn(!screen.placing, event);

for (const button of $("ways").querySelectorAll("button")) {
  button.onclick = (event) => {
    screen.tool = button.value;
    if (!screen.placing) return turn(true, event);
    if (screen.spot && (screen.spot.kind === "hints") !== (screen.tool === "point")) screen.spot = null;
    help();
    changed();
  };
}
$("radius").oninput = () => { screen.radius = Number($("radius").value); changed(); };

for (const [name, away] of [["mark-add", false], ["mark-away", true]]) {
  $(name).onclick = (event) => {
    screen.away = away;
    if (!event.detail) $("stage").focus();
    changed();
  };
}

/** Do at a place of the picture what is to be done there. */
export function actAt(x, y, away) {
  if (dropAt($("after"), x, y) || x !== within(x) || y !== within(y)) return;
  if (screen.tool === "point") openPoint(x, y);
  else mark([[x, y]], { radius: CLICK, away: away || screen.away });
}

// ------------------------------------------------------------------------------------------------------------- strokes

let stroke = null;

/** Return the stroke that is being drawn, { points, radius, away }. */
export const strokeNow = () => stroke;

export function beginStroke(x, y, away) {
  if (x !== within(x) || y !== within(y)) return;
  stroke = { points: [[x, y]], radius: screen.radius, away: away || screen.away };
  changed();
}

export function extendStroke(x, y) {
  stroke?.points.push([within(x), within(y)]);
  changed();
}

export function endStroke() {
  if (!stroke) return;
  const { points, ...how } = stroke;
  stroke = null;
  let few = points;
  for (let tolerance = TOLERANCE; few === points || few.length > MOST_POINTS; tolerance *= 2) few = thinned(points, tolerance);
  mark(few, how);
}

export function dropStroke() {
  stroke = null;
  changed();
}

/** Return as few points of a line as follow it (Ramer, Douglas and Peucker). */
function thinned(points, tolerance) {
  if (points.length < 3) return [...points];
  const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
  const length = Math.hypot(x1 - x0, y1 - y0);
  const farOf = ([x, y]) => (length ? Math.abs((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / length : Math.hypot(x - x0, y - y0));
  let far = 0;
  for (const [at, point] of points.entries()) if (farOf(point) > farOf(points[far])) far = at;
  if (farOf(points[far]) <= tolerance) return [points[0], points.at(-1)];
  return [...thinned(points.slice(0, far + 1), tolerance), ...thinned(points.slice(far), tolerance).slice(1)];
}

// ---------------------------------------------------------------------------------------------------------------- keys

/** Move a cross over the photograph, and click with it; say whether the key did. */
export function crossKey(event) {
  if (!screen.placing && !screen.dropping) return false;
  const { x, y } = screen.cross ?? { x: 0.5, y: 0.5 };
  if (STEPS[event.key]) {
    const [right, down] = STEPS[event.key].map((step) => step * (event.shiftKey ? 0.004 : 0.02));
    screen.cross = { x: within(x + right), y: within(y + down) };
    if (stroke) extendStroke(screen.cross.x, screen.cross.y);
    say(`${Math.round(100 * screen.cross.x)} % across, ${Math.round(100 * screen.cross.y)} % down`, { quiet: true });
    changed();
  } else if (event.key !== "Enter" && event.key !== " ") return false;
  else if (screen.dropping || screen.tool !== "brush") actAt(x, y, event.altKey);
  else if (stroke) endStroke();
  else beginStroke(x, y, event.altKey);
  return true;
}

export function drawTools() {
  $("fix").setAttribute("aria-pressed", screen.placing);
  $("stage").classList.toggle("placing", screen.placing);
  for (const button of $("ways").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", screen.placing && button.value === screen.tool);
  }
  $("brush-size").hidden = !screen.placing || screen.tool !== "brush";
  $("radius").value = screen.radius;
  $("mark-add").setAttribute("aria-pressed", !screen.away);
  $("mark-away").setAttribute("aria-pressed", screen.away);
  $("cross").hidden = !screen.placing && !screen.dropping;
  if (!screen.placing) stroke = null;
  if ($("cross").hidden || !facts()) return;
  const { x, y } = placeOf(screen.cross ?? { x: 0.5, y: 0.5 });
  $("cross").style.transform = `translate(${x}px, ${y}px)`;
}
