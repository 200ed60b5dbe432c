// The strip of photographs below the stage.

import { $, make, say, write } from "./dom.js";
import { about, current, decide, photos, screen } from "./state.js";
import { choose } from "./stage.js";
import { errorOf, stateOf } from "./work.js";
import { inWords } from "./words.js";

const WORDS = { waiting: "Waiting", sending: "Sending", working: "Coloring", paused: "Waits", failed: "Failed", ready: "" };

/** Say how far a photograph is. */
export function noteOf(photo) {
  const state = stateOf(photo);
  const { note, progress } = about(photo);
  if (state === "failed") return inWords(errorOf(photo));
  if (state === "paused") return note;
  if (state === "sending" && progress) return `Sending ${Math.round(100 * progress)} %`;
  return WORDS[state];
}

export function remove(photo) {
  const index = photos().findIndex((other) => other.key === photo.key);
  decide(`${photo.name} removed`, (all) => all.filter((other) => other.key !== photo.key), { at: photo.key });
  say(`${photo.name} removed.`, { undo: true });
  const next = photos()[Math.min(index, photos().length - 1)];
  if (next && screen.current === photo.key) choose(next.key);
  queueMicrotask(() => ((next && items.get(next.key)?.firstElementChild) || $("pick")).focus());
}

const items = new Map(); // Key -> the item of the strip.

function create(photo) {
  const button = make("button", { type: "button", className: "shot", title: photo.name });
  button.onclick = () => choose(photo.key);
  const name = make("span", { className: "title", textContent: photo.name, is: { "aria-hidden": true } });
  const away = make("button", { type: "button", className: "away", textContent: "\u00d7", is: { "aria-label": `Remove ${photo.name}` } });
  away.onclick = () => remove(photo);
  return make("li", {}, button, name, away);
}

export function drawFilm() {
  const here = new Set(photos().map((photo) => photo.key));
  for (const [key, item] of items) {
    if (here.has(key)) continue;
    item.remove();
    items.delete(key);
  }
  let last = null;
  for (const photo of photos()) {
    if (!items.has(photo.key)) items.set(photo.key, create(photo));
    const item = items.get(photo.key);
    if ((last ? last.nextElementSibling : $("strip").firstElementChild) !== item) {
      if (last) last.after(item);
      else $("strip").prepend(item);
    }
    last = item;
    drawShot(item.firstElementChild, photo);
  }
}

function drawShot(button, photo) {
  const { thumb, progress } = about(photo);
  const state = stateOf(photo);
  const words = WORDS[state];
  if (thumb && button.firstElementChild !== thumb) button.prepend(thumb);
  let label = button.querySelector(".state");
  if (!words) label?.remove();
  else if (!label) button.append((label = make("span", { className: "state" }, make("span"))));
  if (words) {
    write(label.firstElementChild, state === "sending" ? `${words} ${Math.round(100 * progress)} %` : words);
    const isBusy = state === "sending" || state === "working";
    const bar = label.querySelector("progress");
    if (!isBusy) bar?.remove();
    else if (!bar) label.append(make("progress", { is: { "aria-label": `Progress of ${photo.name}` } }));
    if (isBusy && state === "sending") label.querySelector("progress").value = progress;
    else if (isBusy) label.querySelector("progress").removeAttribute("value");
  }
  button.classList.toggle("failed", state === "failed");
  const name = `${photo.name}${words ? `: ${noteOf(photo) || words}` : ""}`;
  if (button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
  const isCurrent = String(photo.key === current()?.key);
  if (button.getAttribute("aria-current") === isCurrent) return;
  button.setAttribute("aria-current", isCurrent);
  if (isCurrent === "true") button.parentElement.scrollIntoView({ block: "nearest", inline: "nearest" });
}
