// The knobs of a photograph's look.

import { $, say } from "./dom.js";
import { defaults } from "./looks.js";
import { change, current, history, photos } from "./state.js";
import { isKept, whyPlain } from "./work.js";

const SLIDERS = { vividness: "vividness", saturation: "saturation", temperature: "temperature", strength: "the reference's strength" };
// A look is a place on the curve of vividness; some lean toward a palette, too.
const CHOICE = { look: defaults.look, mode: defaults.mode, temperature: null, saturation: 1 };
const LOOKS = { calm: { vividness: 0.2 }, natural: { vividness: 0.5 }, vivid: { vividness: 0.85 } };
for (const look of ["warm", "photochrom", "autochrome"]) LOOKS[look] = { look, vividness: 0.5 };
LOOKS.transparency = { look: "transparency", vividness: 0.7 };
const COLORS = ["look", "mode", "vividness", "temperature", "saturation", "size", "tone", "enlargement", "reference", "strength"];

for (const [name, label] of Object.entries(SLIDERS)) {
  $(name).oninput = () => change(label, { [name]: Number($(name).value) }, { stroke: name });
  $(name).onchange = () => history.endStroke();
}
$("automatic").onchange = () => change("temperature", { temperature: $("automatic").checked ? null : Number($("temperature").value) });
$("mode").onchange = () => change("how colors are chosen", { mode: $("mode").value });
$("size").onchange = () => change("the network's size", { size: $("size").value });
$("enlargement").onchange = () => change("edges", { enlargement: $("enlargement").checked ? "guided" : "bilinear" });
$("tone").onchange = () => change("contrast", { tone: $("tone").checked ? "auto" : "off" });

for (const button of $("looks").children) {
  button.onclick = () => change(button.textContent, { ...CHOICE, ...LOOKS[button.value] });
}

$("reset").onclick = () => {
  const { hints, regions, reference, strength } = current().look;
  change("reset", { ...defaults, hints, regions, reference, strength });
};

$("for-all").onclick = () => {
  const { name, look } = current();
  const colors = Object.fromEntries(COLORS.map((each) => [each, look[each]]));
  change("use for all", colors, { keys: photos().map((photo) => photo.key) });
  say(`The colors of ${name} are used for all ${photos().length} photographs.`);
};

let drawn = { key: null, kept: true }; // The photograph whose knobs they were, and whether it was kept.

export function drawKnobs() {
  const photo = current();
  if (!photo) return;
  const { look } = photo;
  for (const name of ["vividness", "saturation", "strength"]) {
    $(name).value = look[name];
    $(`${name}-shown`).value = look[name].toFixed(2);
  }
  for (const button of $("looks").children) {
    const chosen = Object.entries({ ...CHOICE, ...LOOKS[button.value] });
    button.setAttribute("aria-pressed", chosen.every(([name, value]) => look[name] === value));
  }
  $("mode").value = look.mode;
  $("size").value = look.size;
  $("tone").checked = look.tone === "auto";
  $("enlargement").checked = look.enlargement === "guided";
  $("automatic").checked = look.temperature === null;
  $("temperature").disabled = look.temperature === null;
  if (look.temperature !== null) $("temperature").value = look.temperature;
  $("temperature-shown").value = look.temperature === null ? "automatic" : look.temperature.toFixed(2);
  $("for-all").hidden = photos().length < 2;
  const kept = isKept(photo);
  if (kept !== drawn.kept) {
    if (!kept) say(whyPlain(photo));
    else if (drawn.key === photo.key) say("There are versions again, and it can be shown where the network is unsure.");
  }
  drawn = { key: photo.key, kept };
}
