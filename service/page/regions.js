// Regions whose color is known: handles on the stage that open them, and a list of them.

import { $, list, make, say } from "./dom.js";
import { alterFix, fixed, openRegion, removeFix } from "./fixes.js";
import { awayButton, colorField } from "./hints.js";
import { change, history } from "./state.js";
import { layOut } from "./view.js";

$("hints-clear").onclick = () => {
  const none = Object.freeze([]);
  change("all fixed colors removed", { hints: none, regions: none });
  say("All fixed colors are removed.", { undo: true });
};

function createHandle(index) {
  const handle = make("button", { type: "button" });
  handle.addEventListener("pointerdown", (event) => event.stopPropagation());
  handle.onclick = () => openRegion(index);
  handle.addEventListener("keydown", (event) => {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    removeFix("regions", index);
    ($("handles").querySelector("button") ?? $("fix")).focus();
    event.preventDefault();
    event.stopPropagation();
  });
  return handle;
}

function drawHandle(handle, region, index) {
  handle.style.background = region.color;
  handle.setAttribute("aria-label", `Region ${index + 1}, color ${region.color}. Enter opens it, Delete removes it.`);
}

/** Make the slider of how far a region's color counts. */
function strengthField(index) {
  const is = { "aria-label": `Strength of region ${index + 1}` };
  const field = make("input", { type: "range", min: 0.05, max: 1, step: 0.05, title: "Strength", is });
  field.oninput = () => alterFix("regions", index, { strength: Number(field.value) }, { stroke: `strength ${index}` });
  field.onchange = () => history.endStroke();
  return field;
}

function createItem(index) {
  const edit = make("button", { type: "button", textContent: "Change", is: { "aria-label": `Change region ${index + 1}` } });
  edit.onclick = () => openRegion(index);
  return make("li", {}, colorField("regions", index, "region"), strengthField(index), edit, awayButton("regions", index, "region"));
}

function drawItem(item, { color, strength }) {
  item.querySelector('[type="color"]').value = color;
  item.querySelector('[type="range"]').value = strength;
}

export function drawRegions() {
  const count = fixed("hints").length + fixed("regions").length;
  $("hint-count").textContent = count ? `(${count})` : "";
  $("hints-clear").hidden = count < 2;
  list($("regions"), fixed("regions"), createItem, drawItem);
  list($("handles"), fixed("regions"), createHandle, drawHandle);
  layOut();
}
