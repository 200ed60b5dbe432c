// The strip of other plausible versions.

import { keyOf } from "./answers.js";
import { $, list, make } from "./dom.js";
import { PREVIEW, wishOf as versionOf } from "./looks.js";
import { change, changed, current, screen } from "./state.js";
import { newestWins, pause } from "./turns.js";
import { answers, factsOf, isKept, isReady } from "./work.js";

const sideNow = () => (screen.large ? 640 : 256);
const ALL = 8;

const nameOf = (photo) => `${keyOf(versionOf(photo, 1))} ${screen.versions} ${sideNow()}`;

/** Fill the strip: small ones, one after another, once the picture itself is there. */
export const strip = newestWins(async (signal) => {
  const photo = current();
  if (!photo || !isKept(photo) || !isReady(photo)) return;
  const name = nameOf(photo);
  if ($("variants").dataset.shown === name) return;
  await pause(0.3, signal);
  const holds = () => current()?.key === photo.key;
  for (const button of [...$("variants").children]) {
    const blob = await answers.answer(versionOf(photo, Number(button.value)), { ...PREVIEW, max_side: sideNow() }, { signal, holds, keptOnly: true });
    if (!holds()) return;
    const image = button.firstElementChild;
    const url = URL.createObjectURL(blob);
    image.src = url;
    await image.decode().catch(() => {});
    URL.revokeObjectURL(url);
  }
  $("variants").dataset.shown = name;
  changed();
});

$("more").onclick = () => { screen.versions = ALL; changed(); strip(); };

$("larger").onclick = () => {
  screen.large = !screen.large;
  changed();
  queueMicrotask(() => $("versions").scrollIntoView({ block: screen.large ? "start" : "nearest" }));
  strip();
};

function create(index) {
  const button = make("button", { type: "button", value: index + 1, is: { "aria-label": `Version ${index + 1}` } }, make("img", { alt: "" }));
  button.onclick = () => change("another version", { variant: index + 1 });
  return button;
}

let drawn = null;
export function drawVersions() {
  const photo = current();
  if (!photo) return;
  if (drawn !== photo.key) {
    drawn = photo.key;
    $("variants").dataset.shown = "";
    for (const image of $("variants").querySelectorAll("img")) image.removeAttribute("src");
  }
  const { width = 4, height = 3 } = factsOf(photo) ?? {};
  $("variants").style.setProperty("--shape", `${width} / ${height}`);
  $("versions").hidden = !isKept(photo);
  $("larger").setAttribute("aria-pressed", screen.large);
  $("work").classList.toggle("large", screen.large);
  $("more").hidden = screen.versions >= ALL;
  list($("variants"), Array.from({ length: screen.versions }), create, (button, _, index) => {
    button.setAttribute("aria-pressed", photo.look.variant === index + 1);
  });
}
