// Points whose color is known: marks on the stage that can be dragged, and a list of them.

import { $, list, make, say } from "./dom.js";
import { MOST_POINTS } from "./looks.js";
import { change, changed, current, history, screen } from "./state.js";
import { box, layOut } from "./view.js";

const NUDGES = { ArrowLeft: [-0.01, 0], ArrowRight: [0.01, 0], ArrowUp: [0, -0.01], ArrowDown: [0, 0.01] };
const within = (share) => Math.min(1, Math.max(0, share));

const hintsNow = () => current()?.look.hints ?? [];
const setHints = (label, hints, how) => change(label, { hints: Object.freeze(hints.map(Object.freeze)) }, how);

/** Add a point, { x, y, color }; false where there is no more room. */
export function addHint(hint) {
  if (hintsNow().length >= MOST_POINTS) {
    say(`There can be ${MOST_POINTS} points at most: remove one first.`);
    return false;
  }
  setHints("a color fixed", [...hintsNow(), hint]);
  return true;
}

/** Change the point of an index. */
export function alterHint(index, what, how) {
  setHints("a point changed", hintsNow().map((hint, i) => (i === index ? { ...hint, ...what } : hint)), how);
}

export function removeHint(index) {
  setHints("a point removed", hintsNow().filter((_, i) => i !== index));
  say("The point is removed.", { undo: true });
}

/** Show the colors of a place: of a point, by its index, or of a new one. */
export function openSpot(x, y, index = null) {
  if (x < 0 || x > 1 || y < 0 || y > 1) return;
  screen.spot = { key: screen.current, x, y, index };
  say("");
  changed();
}

$("fix").onclick = () => {
  screen.placing = !screen.placing;
  screen.spot = null;
  if (screen.placing) say("Click on what has the wrong color.");
  changed();
};
$("hint-middle").onclick = () => openSpot(0.5, 0.5);
$("hints-clear").onclick = () => {
  setHints("all points removed", []);
  say("All points are removed.", { undo: true });
};

// ------------------------------------------------------------------------------------------------- marks on the stage

function createMark(index) {
  const mark = make("button", { type: "button" });
  let drag = null;
  mark.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    if (event.button > 0) return;
    mark.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, from: hintsNow()[index], moved: false };
  });
  mark.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    drag.moved = true;
    const { w, h } = box();
    alterHint(index, { x: within(drag.from.x + dx / w), y: within(drag.from.y + dy / h) }, { stroke: `point ${index}` });
  });
  mark.addEventListener("lostpointercapture", () => {
    const wasMoved = drag?.moved;
    drag = null;
    history.endStroke();
    if (wasMoved) mark.dataset.moved = "";
  });
  mark.addEventListener("click", () => {
    const wasMoved = mark.dataset.moved !== undefined;
    delete mark.dataset.moved;
    const hint = hintsNow()[index];
    if (!wasMoved && hint) openSpot(hint.x, hint.y, index);
  });
  mark.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") {
      removeHint(index);
      ($("marks").querySelector("button") ?? $("fix")).focus();
    } else if (NUDGES[event.key]) {
      const [dx, dy] = NUDGES[event.key];
      const { x, y } = hintsNow()[index];
      alterHint(index, { x: within(x + dx), y: within(y + dy) }, { stroke: `point ${index}` });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  mark.addEventListener("keyup", () => history.endStroke());
  return mark;
}

function drawMark(mark, hint, index) {
  mark.style.background = hint.color;
  mark.setAttribute("aria-label", `Point ${index + 1}, color ${hint.color}. Arrow keys move it, Delete removes it.`);
}

// ----------------------------------------------------------------------------------------------------------- the list

function createItem(index) {
  const color = make("input", { type: "color", is: { "aria-label": `Color of point ${index + 1}` } });
  color.oninput = () => alterHint(index, { color: color.value }, { stroke: `color ${index}` });
  color.onchange = () => history.endStroke();
  const numbers = [["x", "across"], ["y", "down"]].map(([axis, word]) => {
    const is = { "aria-label": `Point ${index + 1}, percent ${word}` };
    const field = make("input", { type: "number", min: 0, max: 100, step: 1, name: axis, is });
    field.onchange = () => {
      delete field.dataset.drawn; // What cannot be taken is shown as it is.
      alterHint(index, { [axis]: within(Number(field.value) / 100 || 0) });
    };
    return make("label", {}, field, "%");
  });
  const away = make("button", { type: "button", className: "square quiet", textContent: "\u00d7", is: { "aria-label": `Remove point ${index + 1}` } });
  away.onclick = () => {
    removeHint(index);
    ($("hints").querySelector(`li:nth-child(${Math.max(index, 1)}) button`) || $("hint-middle")).focus();
  };
  return make("li", {}, color, ...numbers, away);
}

function drawItem(item, hint) {
  item.querySelector('[type="color"]').value = hint.color;
  for (const field of item.querySelectorAll('[type="number"]')) {
    const value = String(Math.round(100 * hint[field.name]));
    if (field.dataset.drawn === value) continue; // Somebody may be typing.
    field.value = field.dataset.drawn = value;
  }
}

export function drawHints() {
  const hints = hintsNow();
  $("fix").setAttribute("aria-pressed", screen.placing);
  $("stage").classList.toggle("placing", screen.placing);
  $("hint-count").textContent = hints.length ? `(${hints.length})` : "";
  $("hints-clear").hidden = hints.length < 2;
  list($("hints"), hints, createItem, drawItem);
  list($("marks"), hints, createMark, drawMark);
  layOut();
}
