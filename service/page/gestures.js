// What mouse, fingers and keys do on the stage.

import { $ } from "./dom.js";
import { screen } from "./state.js";
import { actAt, beginStroke, crossKey, dropStroke, endStroke, extendStroke } from "./tools.js";
import { box, facts, fitScale, isLarge, pan, scaleNow, setSplit, splitAt, view, zoomTo } from "./view.js";

const stage = $("stage");
const fingers = new Map();
let gesture = null;

$("split").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  setSplit(view.split + step);
});

function stagePoint(event) {
  const edge = stage.getBoundingClientRect();
  return { x: event.clientX - edge.left, y: event.clientY - edge.top };
}

/** Where a point of the stage lies in the place of one picture. */
const inPlace = ({ x, y }) => ({ x: view.apart && x > view.width / 2 ? x - view.width / 2 : x, y });

/** Where it lies in the picture, as shares of its width and height. */
function shares(point) {
  const at = box();
  const { x, y } = inPlace(point);
  return [(x - at.x) / at.w, (y - at.y) / at.h];
}

/** What a pointer does that comes down. */
function kindNow() {
  if (screen.placing && screen.tool === "brush" && !screen.dropping) return "brush";
  return screen.placing || screen.dropping ? "place" : isLarge() || view.apart ? "pan" : "split";
}

function spread() {
  const [a, b] = [...fingers.values()];
  return { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

stage.addEventListener("pointerdown", (event) => {
  if (!facts() || event.button > 0) return;
  const first = stagePoint(event);
  fingers.set(event.pointerId, first);
  stage.setPointerCapture(event.pointerId);
  if (fingers.size === 1) {
    const isSplit = $("split").contains(event.target);
    gesture = { kind: isSplit ? "split" : kindNow(), first, moved: isSplit };
    if (gesture.kind === "brush") beginStroke(...shares(first), event.altKey);
    if (isSplit) $("split").focus({ preventScroll: true });
  } else if (fingers.size === 2) {
    gesture = { kind: "pinch", ...spread() };
    dropStroke();
  }
});

stage.addEventListener("pointermove", (event) => {
  const last = fingers.get(event.pointerId);
  if (!last || !gesture) return;
  const now = stagePoint(event);
  fingers.set(event.pointerId, now);
  if (gesture.kind === "pinch") {
    const next = spread();
    const { x, y } = inPlace(next);
    zoomTo((scaleNow() * next.distance) / Math.max(gesture.distance, 1), x, y);
    pan(next.x - gesture.x, next.y - gesture.y);
    Object.assign(gesture, next);
    return;
  }
  if (gesture.kind === "brush") return extendStroke(...shares(now));
  if (!gesture.moved && Math.hypot(now.x - gesture.first.x, now.y - gesture.first.y) < 5) return;
  gesture.moved = true;
  if (gesture.kind === "split") splitAt(now.x);
  else if (isLarge()) {
    stage.classList.add("moving");
    pan(now.x - last.x, now.y - last.y);
  }
});

function letGo(event) {
  if (!fingers.delete(event.pointerId)) return;
  const isDone = event.type === "pointerup";
  if (gesture?.kind === "place" && !gesture.moved && isDone) actAt(...shares(stagePoint(event)), event.altKey);
  else if (gesture?.kind === "brush" && isDone) endStroke();
  else dropStroke();
  stage.classList.remove("moving");
  gesture = null;
}
for (const type of ["pointerup", "pointercancel"]) stage.addEventListener(type, letGo);

stage.addEventListener("wheel", (event) => {
  if (!facts() || (event.deltaY > 0 && !isLarge())) return; // Nothing to zoom out of: the page scrolls.
  event.preventDefault();
  const { x, y } = inPlace(stagePoint(event));
  zoomTo(scaleNow() * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), x, y);
}, { passive: false });

stage.addEventListener("dblclick", (event) => {
  if (screen.placing) return;
  const { x, y } = inPlace(stagePoint(event));
  if (isLarge()) zoomTo(0);
  else zoomTo(Math.max(1 / devicePixelRatio, fitScale() * 2), x, y);
});

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || !facts()) return;
  if (event.target === stage && crossKey(event)) return event.preventDefault();
  if (event.altKey) return;
  const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (step && isLarge()) pan(...step);
  else if (event.key === "+" || event.key === "=") zoomTo(scaleNow() * 1.25);
  else if (event.key === "-") zoomTo(scaleNow() / 1.25);
  else if (event.key === "0") zoomTo(0);
  else if (event.key === "1") zoomTo(1 / devicePixelRatio);
  else return;
  event.preventDefault();
});

$("zoom-in").onclick = () => zoomTo(scaleNow() * 1.5);
$("zoom-out").onclick = () => zoomTo(scaleNow() / 1.5);
$("zoom-fit").onclick = () => zoomTo(0);
$("zoom-full").onclick = () => zoomTo(1 / devicePixelRatio);
