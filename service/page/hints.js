// Points whose color is known: marks on the stage that can be dragged, and a list of them.

import { $, list, make } from "./dom.js";
import { alterFix, fixed, openPoint, removeFix, within } from "./fixes.js";
import { history } from "./state.js";
import { box, layOut } from "./view.js";

const NUDGES = { ArrowLeft: [-0.01, 0], ArrowRight: [0.01, 0], ArrowUp: [0, -0.01], ArrowDown: [0, 0.01] };

const alter = (index, what, how) => alterFix("hints", index, what, how);

$("hint-middle").onclick = () => openPoint(0.5, 0.5);

// ------------------------------------------------------------------------------------------------- marks on the stage

function createMark(index) {
  const mark = make("button", { type: "button" });
  let drag = null;
  mark.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    if (event.button > 0) return;
    mark.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, from: fixed("hints")[index], moved: false };
  });
  mark.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    drag.moved = true;
    const { w, h } = box();
    alter(index, { x: within(drag.from.x + dx / w), y: within(drag.from.y + dy / h) }, { stroke: `point ${index}` });
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
    const hint = fixed("hints")[index];
    if (!wasMoved && hint) openPoint(hint.x, hint.y, index);
  });
  mark.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") {
      removeFix("hints", index);
      ($("marks").querySelector("button") ?? $("fix")).focus();
    } else if (NUDGES[event.key]) {
      const [dx, dy] = NUDGES[event.key];
      const { x, y } = fixed("hints")[index];
      alter(index, { x: within(x + dx), y: within(y + dy) }, { stroke: `point ${index}` });
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
  const numbers = [["x", "across"], ["y", "down"]].map(([axis, word]) => {
    const is = { "aria-label": `Point ${index + 1}, percent ${word}` };
    const field = make("input", { type: "number", min: 0, max: 100, step: 1, name: axis, is });
    field.onchange = () => {
      delete field.dataset.drawn; // What cannot be taken is shown as it is.
      alter(index, { [axis]: within(Number(field.value) / 100 || 0) });
    };
    return make("label", {}, field, "%");
  });
  return make("li", {}, colorField("hints", index, "point"), ...numbers, awayButton("hints", index, "point"));
}

/** Make the field of a color in the list. */
export function colorField(kind, index, word) {
  const color = make("input", { type: "color", is: { "aria-label": `Color of ${word} ${index + 1}` } });
  color.oninput = () => alterFix(kind, index, { color: color.value }, { stroke: `${kind} ${index}` });
  color.onchange = () => history.endStroke();
  return color;
}

/** Make the button that removes what an item of the list is about. */
export function awayButton(kind, index, word) {
  const is = { "aria-label": `Remove ${word} ${index + 1}` };
  const away = make("button", { type: "button", className: "square quiet", textContent: "\u00d7", is });
  away.onclick = () => {
    const items = away.closest("ol");
    removeFix(kind, index);
    (items.querySelector(`li:nth-child(${Math.max(index, 1)}) .square`) || $("hint-middle")).focus();
  };
  return away;
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
  list($("hints"), fixed("hints"), createItem, drawItem);
  list($("marks"), fixed("hints"), createMark, drawMark);
  layOut();
}
