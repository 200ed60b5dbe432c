// Points whose color is known.

import { $, list, make, say } from "./dom.js";
import { MOST_POINTS } from "./looks.js";
import { change, changed, current, history, screen } from "./state.js";
import { cover } from "./stage.js";
import { layOut } from "./view.js";

const PRESETS = [
  ["Skin", "#d8a488"], ["Hair, wood", "#7a5236"], ["Sky", "#8fb4d6"], ["Sea", "#3f7d92"], ["Leaves", "#5f7f38"],
  ["Brick", "#a4553c"], ["Gold, straw", "#c9a44c"],
];

$("hint-mode").onclick = () => {
  screen.placing = !screen.placing;
  if (screen.placing) say("Click on the picture where the color belongs. Points can be moved with the numbers in the list.");
  changed();
};
$("hint-box").addEventListener("toggle", () => { if (!$("hint-box").open && screen.placing) $("hint-mode").click(); });
$("hint-middle").onclick = () => addHint(0.5, 0.5);
$("hints-clear").onclick = () => setHints("all points removed", []);

const setHints = (label, hints, how) => change(label, { hints: Object.freeze(hints.map(Object.freeze)) }, how);

export function addHint(x, y) {
  if (x < 0 || x > 1 || y < 0 || y > 1) return;
  const { hints } = current().look;
  if (hints.length >= MOST_POINTS) {
    cover(`There can be ${MOST_POINTS} points at most: remove one first.`);
    return;
  }
  setHints("a point", [...hints, { x, y, color: $("hint-color").value }]);
}

/** Change the point of an index. */
function alter(index, what, how) {
  setHints("a point changed", current().look.hints.map((hint, i) => (i === index ? { ...hint, ...what } : hint)), how);
}

function createItem(index) {
  const color = make("input", { type: "color", is: { "aria-label": `Color of point ${index + 1}` } });
  color.oninput = () => alter(index, { color: color.value }, { stroke: `color ${index}` });
  color.onchange = () => history.endStroke();
  const numbers = [["x", "across"], ["y", "down"]].map(([axis, word]) => {
    const is = { "aria-label": `Point ${index + 1}, percent ${word}` };
    const field = make("input", { type: "number", min: 0, max: 100, step: 1, name: axis, is });
    field.onchange = () => alter(index, { [axis]: Math.min(1, Math.max(0, Number(field.value) / 100 || 0)) });
    return make("label", {}, field, "%");
  });
  const away = make("button", { type: "button", className: "square quiet", textContent: "\u00d7", is: { "aria-label": `Remove point ${index + 1}` } });
  away.onclick = () => {
    setHints("a point removed", current().look.hints.filter((_, i) => i !== index));
    ($("hints").querySelector(`li:nth-child(${Math.max(index, 1)}) button`) || $("hint-mode")).focus();
  };
  return make("li", {}, color, ...numbers, away);
}

function drawItem(item, hint) {
  item.querySelector('[type="color"]').value = hint.color;
  for (const field of item.querySelectorAll('[type="number"]')) field.value = Math.round(100 * hint[field.name]);
}

export function drawHints() {
  const hints = current()?.look.hints ?? [];
  $("hint-mode").setAttribute("aria-pressed", screen.placing);
  $("stage").classList.toggle("placing", screen.placing);
  $("hint-count").textContent = hints.length ? `(${hints.length})` : "";
  $("hints-clear").hidden = hints.length < 2;
  list($("hints"), hints, createItem, drawItem);
  list($("marks"), hints, () => make("i"), (mark, hint) => { mark.style.background = hint.color; });
  layOut();
}

$("presets").append(...PRESETS.map(([name, color]) => {
  const button = make("button", { type: "button", title: name, is: { "aria-label": name } });
  button.style.background = color;
  button.onclick = () => {
    $("hint-color").value = color;
    if (!screen.placing) $("hint-mode").click();
  };
  return button;
}));
