// The page: photographs in, color out. No build step and no library; it talks to the service that it came from and to
// nobody else. A photograph is posted once (POST /pictures); every knob but size and tones is then a GET of the kept one.

const $ = (id) => document.getElementById(id);

const POSTS_AT_ONCE = 2;
const WHOLE_BYTES = 128e6; // Of answers at full size that the page itself keeps, where the service does not.
const THUMB = { width: 192, height: 144 };
const VARIANT_SIDE = 160;
const PREVIEW_SIDES = [256, 384, 512, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384];
const MOST_POINTS = 64;
const STALE_MS = 800; // A preview on its way for longer than this gives way to a newer one.
const PICTURE_NAME = /\.(jpg|jpeg|jpe|jfif|png|webp|tif|tiff|dng|bmp|dib|gif|jp2|j2k|jpf|jpx|j2c|jpc|jph|jxl|avif|heic|heif|hif|ppm|pgm|pbm|pnm|pam)$/i;
const PRESETS = [
  ["Skin", "#d8a488"], ["Hair, wood", "#7a5236"], ["Sky", "#8fb4d6"], ["Sea", "#3f7d92"], ["Leaves", "#5f7f38"],
  ["Brick", "#a4553c"], ["Gold, straw", "#c9a44c"],
];

// ------------------------------------------------------------------------------------------------------------- state

const photos = [];
const newReference = (file, url) => ({ file, url, id: null, unkept: false, posting: null, left: new AbortController() });
let reference = newReference(null, "");
let current = null;
let keeps = true; // Whether the service keeps pictures; else each change posts the photograph again.
/** What the network is asked of a look, as a query: its answer serves all looks that ask the same. */
const seenAs = ({ size, tone }) => String(new URLSearchParams({ ...(size && { size }), ...(tone !== "auto" && { tone }) }));
// Nor is there always room for a large one: then it is remembered with the inference that it was refused at.
const isKept = (photo) => keeps && photo.unkept !== seenAs(photo.look) && !(reference.unkept && isFollowing(photo));
const isFollowing = (photo) => photo.look.reference && reference.file;
const NO_ROOM = "too-large-to-keep";
let serial = 0;

const defaults = () => ({
  mode: "annealed", vividness: 0.5, temperature: null, saturation: 1, size: "", tone: "auto", enlargement: "bilinear",
  variant: 1, hints: [], reference: false, strength: 0.5,
});

/** What is only looked at needs nothing beside its pixels. */
const PREVIEW = { format: "jpeg", metadata: "none", note: false };

/** Make the query of an answer. Only what differs from the service's own defaults goes in. */
function queryOf(photo, more = {}) {
  const look = photo.look;
  const query = new URLSearchParams({ vividness: look.vividness });
  if (look.mode !== "annealed") query.set("mode", look.mode);
  if (look.temperature !== null) query.set("temperature", look.temperature);
  if (look.saturation !== 1) query.set("saturation", look.saturation);
  if (look.enlargement !== "bilinear") query.set("enlargement", look.enlargement);
  if (look.variant > 1) query.set("variant", look.variant);
  if (look.hints.length) {
    query.set("hints", look.hints.map((h) => `${h.x.toFixed(4)},${h.y.toFixed(4)},${h.color.slice(1)}`).join(";"));
  }
  if (isFollowing(photo)) {
    if (reference.id) query.set("reference", reference.id);
    query.set("reference_strength", look.strength);
  }
  for (const [name, value] of Object.entries(more)) query.set(name, value);
  return query;
}

// ------------------------------------------------------------------------------------------------------------ errors

class Problem extends Error {
  constructor(status, facts = {}, retryAfter = 0) {
    super(facts.detail || `The service answered with status ${status}.`);
    this.status = status;
    this.facts = facts;
    this.kind = String(facts.type || "").split(":").pop();
    this.retryAfter = retryAfter;
  }
}
class Unreachable extends Error {}

/** Both limits of a photograph, whichever was hit, as a remark. */
const sizesIn = (f) => f.max_bytes ? ` (${f.max_megapixels} megapixels and ${Number(f.max_bytes / 1e6).toPrecision(3) * 1} MB at most)` : "";

const WORDS = {
  "upload-too-large": (f) => `The file is larger than this service takes${sizesIn(f)}. `
    + "Save it smaller, for example as JPEG, and add it again.",
  "upload-too-slow": () => "The file came too slowly. Try again over a better connection.",
  "picture-too-large": (f) => `The photograph has more pixels than this service takes${sizesIn(f)}. `
    + "Scale it down and add it again.",
  "picture-too-costly": () => "The file is built in a way that costs too much to open. Save it anew, for example as PNG, and add it again.",
  // A picture of a kind that is not read has a name; what is no picture has the list of what is.
  "unsupported-picture": (f) => (f.detail && !f.formats ? f.detail
    : "This is not a photograph that the service can read. It reads JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, JPEG XL, "
    + "AVIF, PNM and, where that is installed, HEIC; save RAW or PDF as one of these and add it again."),
  "empty-upload": () => "The file is empty. Copy it again from where it came from.",
  "broken-picture": () => "The file is damaged or cut off. Copy it again from where it came from, or save it anew.",
  "several-frames": () => "The file holds several pictures. Save the one you want as a file of its own.",
  unauthorized: () => "The service needs an API key. Try again to enter it.",
  overloaded: () => "The service has too much to do just now.",
  "out-of-memory": () => "The service had too little memory just now.",
  "out-of-disk": () => "The service had too little room for a large file just now.",
  draining: () => "The service is restarting.",
  failing: () => "The service is broken inside and needs a restart by its operator. Try again later.",
  "deadline-exceeded": () => "It took too long. Try again, or with a smaller photograph.",
  "internal-error": (f) => "Something went wrong inside the service. Try again; if it stays so, tell its operator the number "
    + `${f.request_id}.`,
};

/** Say in words what went wrong and what to do. */
function inWords(error) {
  if (error instanceof Unreachable) return "The service cannot be reached. Is the network there, and the service running?";
  if (!(error instanceof Problem)) return `Something went wrong in this page: ${error.message}`;
  return (WORDS[error.kind] || (() => error.message))(error.facts);
}

/** Return the seconds after which trying again by itself makes sense; 0 where it does not. */
function patience(error, attempt) {
  if (error instanceof Unreachable) return Math.min(5 * 2 ** attempt, 60);
  if (error instanceof Problem && error.status === 503 && error.kind !== "failing") return Math.max(error.retryAfter, 1);
  return 0;
}

// -------------------------------------------------------------------------------------------------------------- HTTP

const keyHeader = () => {
  const key = sessionStorage.getItem("photochrom-key");
  return key ? { "X-API-Key": key } : {};
};

function problemOf(status, retryAfter, text) {
  let facts = {};
  try { facts = JSON.parse(text); } catch { /* A proxy's answer, not the service's. */ }
  const seconds = Number.parseInt(retryAfter, 10);
  return new Problem(status, facts, Number.isNaN(seconds) ? 0 : seconds);
}

async function call(path, { method = "GET", headers = {}, ...rest } = {}) {
  let answer;
  try {
    answer = await fetch(path, { method, headers: { ...keyHeader(), ...headers }, cache: "no-store", ...rest });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  if (!answer.ok) throw problemOf(answer.status, answer.headers.get("Retry-After"), await answer.text());
  return answer;
}

/** Upload by XMLHttpRequest, the one way that tells its progress. Returns the request, whose response is a blob. */
function upload(path, body, type, onProgress, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.responseType = "blob";
    if (type) request.setRequestHeader("Content-Type", type);
    for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(new DOMException("left", "AbortError"));
    request.onload = async () => {
      if (request.status < 300) resolve(request);
      else reject(problemOf(request.status, request.getResponseHeader("Retry-After"), await request.response.text()));
    };
    const leave = () => request.abort();
    signal?.addEventListener("abort", leave);
    request.onloadend = () => signal?.removeEventListener("abort", leave); // Else a photograph's signal holds every answer.
    request.send(body);
  });
}

/** The bytes decide what a file is, so whatever does not call itself an image is sent as bytes. */
const typeOf = (file) => (file.type.startsWith("image/") ? file.type : "application/octet-stream");

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, seconds * 1000);
  signal?.addEventListener("abort", () => { clearTimeout(timer); reject(new DOMException("left", "AbortError")); }, { once: true });
});

/** Wait for something that goes on without whoever waits, too. */
const abortable = (work, signal) => Promise.race([work, new Promise((_, reject) => {
  const leave = () => reject(new DOMException("left", "AbortError"));
  if (signal?.aborted) leave();
  else signal?.addEventListener("abort", leave, { once: true });
})]);

let cameBack = 0;
window.addEventListener("online", () => { cameBack++; });

/** Do something until it works or fails for good; between attempts count the seconds down aloud. */
async function withRetry(work, onWait, signal) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const seconds = patience(error, attempt);
      if (!seconds || signal?.aborted) throw error;
      const before = cameBack;
      for (let left = seconds; left > 0 && before === cameBack; left--) {
        onWait(`${inWords(error)} Trying again in ${left} s.`, left);
        await pause(1, signal);
      }
      onWait("", 0);
    }
  }
}

// ------------------------------------------------------------------------------------------------------- photographs

function add(files, skipped = 0) {
  const wasEmpty = photos.length === 0;
  const look = current ? { ...current.look, variant: 1, hints: [] } : defaults();
  for (const file of files) {
    photos.push({
      key: ++serial, file, name: file.name || `photograph-${serial}.png`, url: URL.createObjectURL(file), look: { ...look, hints: [] },
      state: "waiting", note: "Waiting", error: null, progress: 0, id: null, facts: null, left: new AbortController(),
    });
    drawThumb(photos.at(-1), file).catch(() => {});
  }
  if (files.length || skipped) {
    say(`${files.length} ${files.length === 1 ? "photograph" : "photographs"} added.`
      + (skipped ? ` ${skipped} ${skipped === 1 ? "file is" : "files are"} no pictures and left out.` : ""));
  }
  if (!photos.length) return;
  $("welcome").hidden = true;
  $("work").hidden = $("add").hidden = false;
  drawStrip();
  if (wasEmpty || !current) choose(photos[0]);
  pump();
}

/** Start as many uploads as may run; the photograph on the screen goes first. */
function pump() {
  const busy = photos.filter((p) => p.posting).length;
  const waiting = photos.filter((p) => p.state === "waiting" && !p.posting).sort((a, b) => (b === current) - (a === current));
  for (const photo of waiting.slice(0, Math.max(0, POSTS_AT_ONCE - busy))) renew(photo).catch(() => {});
}

function setState(photo, state, note = "") {
  const changed = photo.state !== state || photo.note !== note;
  Object.assign(photo, { state, note });
  drawShot(photo);
  if (changed) (photo === current ? drawState : drawAll)();
}

/** Post a photograph; whoever asks meanwhile waits for the same post. */
function renew(photo) {
  photo.posting ??= post(photo).finally(() => {
    photo.posting = null;
    drawShot(photo);
    pump();
  });
  return photo.posting;
}

/** Whether there is what a photograph's look needs: it is kept as it is to be seen, or its answer at full size has come. */
const isThere = (photo) => (isKept(photo) ? Boolean(photo.id) && photo.idSeen === seenAs(photo.look)
  : photo.whole?.key === wholeKey(photo));

async function post(photo) {
  const signal = photo.left.signal;
  photo.error = null;
  const onProgress = (share) => {
    photo.progress = share;
    setState(photo, share < 1 ? "sending" : "working", share < 1 ? `Sending ${Math.round(100 * share)} %` : "Coloring");
  };
  try {
    await withRetry(async () => {
      while (!isThere(photo)) { // Its look may change while a post is on its way.
        photo.progress = 0;
        setState(photo, "sending", "Sending");
        await (isKept(photo) ? keep : colorizeWhole)(photo, onProgress, signal);
      }
    }, (note) => note && setState(photo, "paused", note), signal);
  } catch (error) {
    if (error.name !== "AbortError") fail(photo, error);
    throw error;
  }
  setState(photo, "ready");
  if (photo === current) refresh();
  else if (photo.whole) drawThumb(photo, photo.whole.blob).catch(() => {});
  else thumbnail(photo);
  drawKnobs();
  say(`${photo.name} is in color. ${photo === current ? whyPlain(photo) : ""}`.trim());
  drawAll();
}

/** Have a photograph kept as it is to be seen, or learn that it cannot be. */
async function keep(photo, onProgress, signal) {
  const seen = seenAs(photo.look);
  if (photo.id) forget(photo.id);
  photo.id = null;
  try {
    const answer = await upload(`pictures${seen && `?${seen}`}`, photo.file, typeOf(photo.file), onProgress, signal);
    const facts = JSON.parse(await answer.response.text());
    if (signal.aborted) forget(facts.id);
    else Object.assign(photo, { facts, id: facts.id, idSeen: seen, whole: null });
  } catch (error) {
    if (error.kind === NO_ROOM) photo.unkept = seen;
    else keepsNothing(error);
  }
  signal.throwIfAborted();
}

/** Where a picture is not kept: post everything for one answer at full size, and return it. */
async function colorizeWhole(photo, onProgress, signal, format = "png") {
  const query = queryOf(photo, { format });
  query.delete("reference");
  if (query.get("variant")) query.delete("variant");
  for (const [name, value] of new URLSearchParams(seenAs(photo.look))) query.set(name, value);
  let body = photo.file;
  let type = typeOf(photo.file);
  if (isFollowing(photo)) {
    body = new FormData();
    body.append("image", photo.file);
    body.append("reference", reference.file);
    type = "";
  }
  const key = wholeKey(photo);
  const answer = await upload(`colorize?${query}`, body, type, onProgress, signal);
  const blob = answer.response;
  if (format !== "png") return blob;
  if (!photo.id) { // Of a kept one more is known.
    const bitmap = await createImageBitmap(blob);
    const { width, height } = bitmap;
    bitmap.close();
    const scene = decodeURIComponent(answer.getResponseHeader("X-Photochrom-Scene") || "");
    if (!photo.id) photo.facts = { width, height, scene: scene ? [{ name: scene }] : [] };
  }
  if (!isKept(photo) && key === wholeKey(photo)) hold(photo, { key, blob, at: performance.now() });
  return blob;
}

/** Hold an answer at full size; those that came first go when they all take too much memory. */
function hold(photo, whole) {
  photo.whole = whole;
  let room = WHOLE_BYTES;
  for (const other of photos.filter((p) => p.whole).sort((a, b) => b.whole.at - a.whole.at)) {
    room -= other.whole.blob.size;
    if (room < 0 && other !== photo && other !== current) other.whole = null;
  }
}

/** Name a look. The reference is named by its file, which stays the same when it is posted again. */
function wholeKey(photo) {
  const query = queryOf(photo);
  query.delete("reference");
  return `${query}|${seenAs(photo.look)}|${photo.look.reference ? reference.url : ""}`;
}

function fail(photo, error) {
  photo.error = error;
  setState(photo, "failed", inWords(error));
  say(`${photo.name}: ${photo.note}`);
  if (error instanceof Problem && error.status === 401) askForKey();
  drawKnobs();
  drawAll();
}

/** Get an answer about a kept picture. One that the service has forgotten is posted again, without a word. */
async function ask(photo, tail, more, signal) {
  for (let attempt = 0; ; attempt++) {
    photo.left.signal.throwIfAborted(); // What was removed is not posted again.
    while (isKept(photo) && !(isThere(photo) && (reference.id || !isFollowing(photo)))) {
      await abortable(isThere(photo) ? postReference(reference) : renew(photo), signal);
    }
    if (!isKept(photo)) throw new Problem(413, { type: NO_ROOM });
    const { id } = photo;
    const seen = seenAs(photo.look);
    const followed = isFollowing(photo) ? { reference, id: reference.id } : null;
    try {
      const blob = await (await call(`pictures/${id}${tail}?${more ? queryOf(photo, more) : ""}`, { signal })).blob();
      if (photo.id === id) return blob; // Else it has been posted anew meanwhile, to be seen otherwise.
    } catch (error) {
      if (error.kind !== "picture-not-kept") throw error;
      if (attempt > 1) { // One pushes the other out, or others do.
        if (followed) followed.reference.unkept = true;
        else photo.unkept = seen;
        drawKnobs();
      } else if (photo.id === id && (!followed || followed.reference.id === followed.id)) {
        // It does not say which of the two is gone. What has been posted anew meanwhile is not.
        photo.id = null;
        if (followed) followed.reference.id = null;
      }
    }
  }
}

/** Get an answer; `whole` is its format where nothing is kept, and all of it is made anew. */
async function picture(photo, more, signal, whole = "png") {
  if (isKept(photo) && (photo.id || photo.posting || photo.state === "ready")) {
    const blob = await ask(photo, "", more, signal).catch((error) => { if (isKept(photo)) throw error; });
    if (blob) {
      photo.whole = null;
      return blob;
    }
  }
  if (photo.posting) await abortable(photo.posting, signal); // Perhaps for just this.
  if (whole !== "png") return colorizeWhole(photo, () => {}, signal, whole);
  return photo.whole?.key === wholeKey(photo) ? photo.whole.blob : colorizeWhole(photo, () => {}, signal);
}

/** Learn from a refusal that the service keeps no pictures at all. Whatever else it says is thrown on. */
function keepsNothing(error) {
  if (!(error instanceof Problem && [404, 405].includes(error.status))) throw error;
  keeps = false;
}

/** Have a reference kept; whoever asks meanwhile waits for the same post. What comes is of it, not of its successor. */
function postReference(to) {
  to.posting ??= keepReference(to).finally(() => { to.posting = null; });
  return to.posting;
}

async function keepReference(to) {
  try {
    const answer = await upload("pictures", to.file, typeOf(to.file), () => {});
    to.id = JSON.parse(await answer.response.text()).id;
    if (to.left.signal.aborted) forget(to.id);
  } catch (error) { // Without room for it, it goes along with each photograph.
    if (error.kind === NO_ROOM) to.unkept = true;
    else keepsNothing(error);
    drawKnobs();
  }
}

function leaveReference(old) {
  old.left.abort();
  if (old.id) forget(old.id);
  URL.revokeObjectURL(old.url);
}

const forget = (id) => { call(`pictures/${id}`, { method: "DELETE", keepalive: true }).catch(() => {}); };

function remove(photo) {
  const at = photos.indexOf(photo);
  photos.splice(at, 1);
  photo.left.abort();
  if (photo.id) forget(photo.id);
  URL.revokeObjectURL(photo.url);
  say(`${photo.name} removed.`);
  drawStrip();
  pump();
  if (!photos.length) {
    current = null;
    $("work").hidden = $("add").hidden = true;
    $("welcome").hidden = false;
    $("pick").focus();
    return;
  }
  const next = photos[Math.min(at, photos.length - 1)];
  if (photo === current) choose(next);
  shotOf(next)?.querySelector(".shot").focus();
}

// ---------------------------------------------------------------------------------------------------------- previews

/** Let one run at a time, and after it only the newest of those that were asked for meanwhile. */
function newestWins(work) {
  let running = null;
  let again = false;
  let since = 0;
  let ended = Promise.resolve();
  function run(now = false) {
    if (running) {
      again = true;
      if (now || performance.now() - since > STALE_MS) running.abort();
      return;
    }
    running = new AbortController();
    since = performance.now();
    ended = work(running.signal).catch((error) => {
      // What the service or the network refuses is said where it matters; the strip of versions can wait.
      if (error.name !== "AbortError" && !(error instanceof Problem) && !(error instanceof Unreachable)) console.error(error);
    }).finally(() => {
      running = null;
      if (again) { again = false; run(); }
    });
  }
  run.stop = () => { again = false; running?.abort(); };
  run.isOver = async () => { while (running) await ended; };
  return run;
}

/** Return the longest side that a preview needs now: what the screen shows, in steps, at most the picture's own. */
function sideNeeded(photo) {
  const long = Math.max(photo.facts.width, photo.facts.height);
  const shown = Math.min(long, long * scaleNow() * devicePixelRatio);
  return Math.max(64, Math.min(long, PREVIEW_SIDES.find((side) => side >= shown - 1) ?? long));
}

const preview = newestWins(async (signal) => {
  const photo = current;
  if (!photo?.facts) return;
  const more = { ...PREVIEW, max_side: sideNeeded(photo) };
  const key = `${photo.key} ${wholeKey(photo)} ${more.max_side}`;
  $("stage").setAttribute("aria-busy", "true");
  strip.stop(); // The small ones give way, and come after it.
  try {
    const blob = await withRetry(() => picture(photo, more, signal), (note) => cover(note), signal);
    if (photo !== current) return;
    await showAfter(photo, blob, key);
    photo.error = null;
    photo.shownKey = `${wholeKey(photo)} ${more.max_side}`;
    if (photo.state === "failed") setState(photo, "ready");
    drawThumb(photo, blob).catch(() => {});
    strip();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (photos.includes(photo)) fail(photo, error);
  } finally {
    $("stage").setAttribute("aria-busy", "false");
  }
});

/** Ask for what the screen should show now; `fresh` gives up at once what is on its way. */
function refresh(fresh = false) {
  if (current?.facts) preview(fresh);
}

let lastShown = "";
async function showAfter(photo, blob, key) {
  const url = URL.createObjectURL(blob);
  const image = $("after");
  image.src = url;
  await image.decode().catch(() => {});
  if (lastShown) URL.revokeObjectURL(lastShown);
  lastShown = url;
  if (photo !== current) return;
  image.dataset.shown = key;
  image.alt = `${photo.name} in color`;
  cover("");
  layOut();
}

/** Draw the thumbnail of a kept photograph anew: one after another, so that many do not hold up the screen. */
function thumbnail(photo) {
  const { signal } = photo.left;
  thumbnail.line = (thumbnail.line ?? Promise.resolve()).then(async () => {
    const key = wholeKey(photo);
    const blob = await withRetry(() => ask(photo, "", { ...PREVIEW, max_side: THUMB.width }, signal), () => {}, signal);
    if (key === wholeKey(photo)) await drawThumb(photo, blob);
  }).catch((error) => { // The strip then shows the old one; choosing the photograph tells why.
    if (error.kind === NO_ROOM) again(photo);
  });
}

async function drawThumb(photo, blob) {
  const turn = (photo.turn = (photo.turn || 0) + 1);
  const bitmap = await createImageBitmap(blob);
  if (turn !== photo.turn) return bitmap.close();
  photo.thumb ??= Object.assign(document.createElement("canvas"), THUMB);
  const factor = Math.max(THUMB.width / bitmap.width, THUMB.height / bitmap.height);
  const [width, height] = [bitmap.width * factor, bitmap.height * factor];
  const pen = photo.thumb.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, (THUMB.width - width) / 2, (THUMB.height - height) / 2, width, height);
  bitmap.close();
  drawShot(photo);
}

/** Fill the strip of versions: small ones, one after another, once the picture itself is there. */
const strip = newestWins(async (signal) => {
  const photo = current;
  if (!photo || !isKept(photo)) return;
  const key = `${photo.key} ${wholeKey({ ...photo, look: { ...photo.look, variant: 1 } })} ${$("variants").children.length}`;
  if ($("variants").dataset.shown === key) return;
  await pause(0.3, signal);
  for (const button of [...$("variants").children]) {
    const blob = await ask(photo, "", { ...PREVIEW, max_side: VARIANT_SIDE, variant: button.value }, signal);
    if (photo !== current) return;
    const image = button.firstElementChild;
    const url = URL.createObjectURL(blob);
    image.src = url;
    await image.decode().catch(() => {});
    URL.revokeObjectURL(url);
  }
  $("variants").dataset.shown = key;
});

function drawVariants(count) {
  for (let variant = $("variants").children.length + 1; variant <= count; variant++) {
    const button = Object.assign(document.createElement("button"), { type: "button", value: variant });
    button.setAttribute("aria-label", `Version ${variant}`);
    button.append(Object.assign(new Image(), { alt: "" }));
    button.onclick = () => change({ variant });
    $("variants").append(button);
  }
  $("more").hidden = count >= 8;
  drawKnobs();
}

// ------------------------------------------------------------------------------------------------ the picture's view

const view = { scale: 0, x: 0.5, y: 0.5, split: 50, width: 0, height: 0 }; // scale 0 fits; x, y: what the middle shows.

const fitScale = () => {
  if (!current?.facts) return 1;
  return Math.min(view.width / current.facts.width, view.height / current.facts.height, 3);
};
const scaleNow = () => view.scale || fitScale();

/** Where the picture's top left corner lies in the stage, and how large it is, px. */
function box() {
  const { width, height } = current.facts;
  const scale = scaleNow();
  const place = (length, room, middle) => (length <= room ? (room - length) / 2
    : Math.min(0, Math.max(room - length, room / 2 - middle * length)));
  const [w, h] = [width * scale, height * scale];
  return { x: place(w, view.width, view.x), y: place(h, view.height, view.y), w, h };
}

function layOut() {
  if (!current?.facts) return;
  const at = box();
  for (const layer of [$("before"), $("after"), $("veil")]) {
    layer.style.width = `${at.w}px`;
    layer.style.height = `${at.h}px`;
    layer.style.transform = `translate(${at.x}px, ${at.y}px)`;
  }
  const left = Math.max(at.x, 0);
  const right = Math.min(at.x + at.w, view.width);
  const border = left + ((right - left) * view.split) / 100;
  $("pane-before").style.clipPath = `inset(0 ${view.width - border}px 0 0)`;
  $("pane-after").style.clipPath = `inset(0 0 0 ${border}px)`;
  $("split").style.transform = `translateX(${border}px)`;
  $("split").setAttribute("aria-valuenow", Math.round(view.split));
  $("split").setAttribute("aria-valuetext", `${Math.round(view.split)} % before, ${Math.round(100 - view.split)} % in color`);
  $("stage").style.setProperty("--ratio", current.facts.height / current.facts.width);
  $("tag-before").hidden = view.split < 12;
  $("tag-after").hidden = view.split > 88;
  $("zoom").textContent = `${Math.round(scaleNow() * devicePixelRatio * 100)} %`;
  $("stage").classList.toggle("large", isLarge());
  for (const [number, mark] of [...$("marks").children].entries()) {
    const hint = current.look.hints[number];
    mark.style.transform = `translate(${at.x + hint.x * at.w}px, ${at.y + hint.y * at.h}px)`;
  }
}

const isLarge = () => view.scale > fitScale() * 1.001;

/** Set the scale; the point of the stage at (x, y) px keeps showing what it shows. */
function zoomTo(scale, x = view.width / 2, y = view.height / 2) {
  if (!current?.facts) return;
  const fit = fitScale();
  const at = box();
  const [u, v] = [(x - at.x) / at.w, (y - at.y) / at.h];
  const next = Math.min(Math.max(scale, fit), Math.max(8 / devicePixelRatio, fit * 4));
  view.scale = next <= fit * 1.001 ? 0 : next;
  const { width, height } = current.facts;
  view.x = u + (view.width / 2 - x) / (width * scaleNow());
  view.y = v + (view.height / 2 - y) / (height * scaleNow());
  moved();
}

function pan(dx, dy) {
  const at = box();
  view.x -= dx / at.w;
  view.y -= dy / at.h;
  moved();
}

function moved() {
  // Never further than the edge, so that panning back starts at once.
  const at = box();
  if (at.w > view.width) view.x = Math.min(Math.max(view.x, view.width / 2 / at.w), 1 - view.width / 2 / at.w);
  if (at.h > view.height) view.y = Math.min(Math.max(view.y, view.height / 2 / at.h), 1 - view.height / 2 / at.h);
  layOut();
  const key = current && `${wholeKey(current)} ${sideNeeded(current)}`;
  if (current && isKept(current) && current.shownKey && current.shownKey !== key && current.state === "ready") {
    clearTimeout(moved.timer);
    moved.timer = setTimeout(refresh, 150);
  }
}

function setSplit(percent) {
  view.split = Math.min(100, Math.max(0, percent));
  layOut();
}

function splitAt(x) {
  const at = box();
  const left = Math.max(at.x, 0);
  setSplit((100 * (x - left)) / (Math.min(at.x + at.w, view.width) - left));
}

$("split").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  setSplit(view.split + step);
});

const fingers = new Map();
let gesture = null;

function stagePoint(event) {
  const edge = $("stage").getBoundingClientRect();
  return { x: event.clientX - edge.left, y: event.clientY - edge.top };
}

$("stage").addEventListener("pointerdown", (event) => {
  if (!current?.facts || event.button > 0) return;
  fingers.set(event.pointerId, stagePoint(event));
  $("stage").setPointerCapture(event.pointerId);
  const first = stagePoint(event);
  if (fingers.size === 1) {
    const kind = $("split").contains(event.target) ? "split" : isPlacing() ? "place" : isLarge() ? "pan" : "split";
    gesture = { kind, first, moved: kind === "split" && $("split").contains(event.target) };
    if (gesture.moved) $("split").focus({ preventScroll: true });
  } else if (fingers.size === 2) {
    gesture = { kind: "pinch", ...spread() };
  }
});

function spread() {
  const [a, b] = [...fingers.values()];
  return { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

$("stage").addEventListener("pointermove", (event) => {
  const last = fingers.get(event.pointerId);
  if (!last || !gesture) return;
  const now = stagePoint(event);
  fingers.set(event.pointerId, now);
  if (gesture.kind === "pinch") {
    const next = spread();
    zoomTo((scaleNow() * next.distance) / Math.max(gesture.distance, 1), next.x, next.y);
    pan(next.x - gesture.x, next.y - gesture.y);
    Object.assign(gesture, next);
    return;
  }
  if (!gesture.moved && Math.hypot(now.x - gesture.first.x, now.y - gesture.first.y) < 5) return;
  gesture.moved = true;
  if (gesture.kind === "split") splitAt(now.x);
  else if (isLarge()) {
    $("stage").classList.add("moving");
    pan(now.x - last.x, now.y - last.y);
  }
});

function letGo(event) {
  if (!fingers.delete(event.pointerId)) return;
  if (gesture?.kind === "place" && !gesture.moved && event.type === "pointerup") {
    const at = box();
    const { x, y } = stagePoint(event);
    addHint((x - at.x) / at.w, (y - at.y) / at.h);
  }
  $("stage").classList.remove("moving");
  gesture = null;
}
for (const type of ["pointerup", "pointercancel"]) $("stage").addEventListener(type, letGo);

$("stage").addEventListener("wheel", (event) => {
  if (!current?.facts || (event.deltaY > 0 && !isLarge())) return; // Nothing to zoom out of: the page scrolls.
  event.preventDefault();
  const { x, y } = stagePoint(event);
  zoomTo(scaleNow() * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), x, y);
}, { passive: false });

$("stage").addEventListener("dblclick", (event) => {
  if (isPlacing()) return;
  const { x, y } = stagePoint(event);
  if (isLarge()) zoomTo(0);
  else zoomTo(Math.max(1 / devicePixelRatio, fitScale() * 2), x, y);
});

$("stage").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !current?.facts) return;
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

new ResizeObserver(([entry]) => {
  view.width = entry.contentRect.width;
  view.height = entry.contentRect.height;
  if (current?.facts) moved();
}).observe($("stage"));

// ------------------------------------------------------------------------------------- where the network is not sure

let overlay = false;
$("overlay").onclick = () => {
  overlay = !overlay;
  $("overlay").setAttribute("aria-pressed", overlay);
  drawVeil();
};

const drawVeil = newestWins(async (signal) => {
  const photo = current;
  $("legend").hidden = $("veil").hidden = true;
  const isWanted = () => overlay && photo === current && photo?.facts && isKept(photo) && photo.state === "ready";
  if (!isWanted()) return;
  try {
    if (photo.sure?.id !== photo.id) {
      const blob = await ask(photo, "/confidence", null, signal);
      photo.sure = { id: photo.id, blob };
    }
    const bitmap = await createImageBitmap(photo.sure.blob);
    if (!isWanted()) return;
    const veil = $("veil");
    veil.width = bitmap.width;
    veil.height = bitmap.height;
    const pen = veil.getContext("2d", { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    const pixels = pen.getImageData(0, 0, veil.width, veil.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const unsure = 1 - pixels.data[i] / 255;
      // Most of a photograph is above one half: there the whole range is worth seeing.
      pixels.data.set([122, 43, 255, 200 * Math.min(1, 2 * unsure)], i);
    }
    pen.putImageData(pixels, 0, 0);
    $("legend").hidden = veil.hidden = false;
    layOut();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!isWanted()) return;
    say(inWords(error));
    cover(inWords(error));
  }
});

// -------------------------------------------------------------------------------------------------------------- knobs

/** Take a change to a photograph's look, and show it. */
function change(what, photo = current) {
  if (!photo) return;
  Object.assign(photo.look, what);
  drawKnobs();
  refresh();
  if (photo !== current) redraw(photo);
}

/** Bring a photograph that is not on the screen up to its look. What is under way or fails comes to that by itself. */
function redraw(photo) {
  if (photo.state !== "ready") return;
  if (isThere(photo)) thumbnail(photo);
  else again(photo);
}

for (const name of ["vividness", "saturation"]) $(name).oninput = () => change({ [name]: Number($(name).value) });
$("temperature").oninput = () => change({ temperature: Number($("temperature").value) });
$("automatic").onchange = () => change({ temperature: $("automatic").checked ? null : Number($("temperature").value) });
$("mode").onchange = () => change({ mode: $("mode").value });
$("enlargement").onchange = () => change({ enlargement: $("enlargement").checked ? "guided" : "bilinear" });
$("size").onchange = () => {
  if (!current) return;
  current.look.size = $("size").value;
  again(current);
};
$("tone").onchange = () => {
  if (!current) return;
  current.look.tone = $("tone").checked ? "auto" : "off";
  again(current);
};
$("strength").oninput = () => change({ strength: Number($("strength").value) });
$("more").onclick = () => { drawVariants(8); strip(); };
$("reset").onclick = () => {
  const before = current.look;
  current.look = { ...defaults(), hints: before.hints, reference: before.reference, strength: before.strength };
  drawKnobs();
  if (seenAs(before)) again(current);
  else refresh();
};
$("for-all").onclick = () => {
  const { mode, vividness, temperature, saturation, size, tone, enlargement, reference: follows, strength } = current.look;
  for (const photo of photos.filter((p) => p !== current)) {
    const before = wholeKey(photo);
    Object.assign(
      photo.look, { mode, vividness, temperature, saturation, size, tone, enlargement, reference: follows, strength },
    );
    if (wholeKey(photo) !== before) redraw(photo);
  }
  say(`The colors of ${current.name} are used for all ${photos.length} photographs.`);
};

/** Post a photograph again: to be seen otherwise, or after an error. */
function again(photo) {
  if (photo.posting) { photo.posting.catch(() => {}).then(() => { if (!isThere(photo)) again(photo); }); return; }
  setState(photo, "waiting", "Waiting");
  pump();
}

/** Say why a photograph has neither versions nor an overlay; nothing where it has them. */
function whyPlain(photo) {
  if (isKept(photo)) return "";
  const what = !keeps ? "anything" : photo.unkept === seenAs(photo.look) ? photo.name : "the reference";
  return `The service has no room to keep ${what}: there are no versions, and it cannot be shown where the network is unsure.`;
}

let drawnKnobs = null; // The photograph whose knobs they were.
function drawKnobs() {
  if (!current) return;
  const look = current.look;
  for (const name of ["vividness", "saturation", "strength"]) {
    $(name).value = look[name];
    $(`${name}-shown`).value = look[name].toFixed(2);
  }
  $("mode").value = look.mode;
  $("size").value = look.size;
  $("tone").checked = look.tone === "auto";
  $("enlargement").checked = look.enlargement === "guided";
  $("automatic").checked = look.temperature === null;
  $("temperature").disabled = look.temperature === null;
  if (look.temperature !== null) $("temperature").value = look.temperature;
  $("temperature-shown").value = look.temperature === null ? "automatic" : look.temperature.toFixed(2);
  for (const button of $("variants").children) button.setAttribute("aria-pressed", Number(button.value) === look.variant);
  const kept = isKept(current);
  if ($("overlay").hidden === kept) {
    $("versions").hidden = $("overlay").hidden = !kept;
    drawVeil(true);
    if (!kept) say(whyPlain(current));
    else if (drawnKnobs === current) say("There are versions again, and it can be shown where the network is unsure.");
  }
  drawnKnobs = current;
  const follows = isFollowing(current);
  $("reference-shown").hidden = $("reference-drop").hidden = $("strength-knob").hidden = !follows;
  $("reference-count").textContent = follows ? "(1)" : "";
}

// -------------------------------------------------------------------------------------------------------------- hints

const isPlacing = () => $("hint-mode").getAttribute("aria-pressed") === "true";

$("hint-mode").onclick = () => {
  const on = !isPlacing();
  $("hint-mode").setAttribute("aria-pressed", on);
  $("stage").classList.toggle("placing", on);
  if (on) say("Click on the picture where the color belongs. Points can be moved with the numbers in the list.");
};
$("hint-box").addEventListener("toggle", () => { if (!$("hint-box").open && isPlacing()) $("hint-mode").click(); });
$("hint-middle").onclick = () => addHint(0.5, 0.5);
$("hints-clear").onclick = () => { current.look.hints = []; drawHints(); refresh(); };

function addHint(x, y) {
  if (x < 0 || x > 1 || y < 0 || y > 1) return;
  if (current.look.hints.length >= MOST_POINTS) {
    cover(`There can be ${MOST_POINTS} points at most: remove one first.`);
    return;
  }
  current.look.hints.push({ x, y, color: $("hint-color").value });
  drawHints();
  refresh();
}

function drawHints() {
  const hints = current?.look.hints ?? [];
  $("hint-count").textContent = hints.length ? `(${hints.length})` : "";
  $("hints-clear").hidden = hints.length < 2;
  $("hints").replaceChildren(...hints.map(hintItem));
  $("marks").replaceChildren(...hints.map((hint) => {
    const mark = document.createElement("i");
    mark.style.background = hint.color;
    return mark;
  }));
  layOut();
}

function hintItem(hint, index) {
  const item = document.createElement("li");
  const color = Object.assign(document.createElement("input"), { type: "color", value: hint.color });
  color.setAttribute("aria-label", `Color of point ${index + 1}`);
  color.oninput = () => {
    hint.color = color.value;
    $("marks").children[index].style.background = hint.color;
    refresh();
  };
  const numbers = [["x", "across"], ["y", "down"]].map(([axis, word]) => {
    const label = document.createElement("label");
    const field = Object.assign(document.createElement("input"), {
      type: "number", min: 0, max: 100, step: 1, value: Math.round(100 * hint[axis]),
    });
    field.setAttribute("aria-label", `Point ${index + 1}, percent ${word}`);
    field.onchange = () => {
      hint[axis] = Math.min(1, Math.max(0, Number(field.value) / 100 || 0));
      layOut();
      refresh();
    };
    label.append(field, "%");
    return label;
  });
  const away = Object.assign(document.createElement("button"), { type: "button", className: "square quiet", textContent: "\u00d7" });
  away.setAttribute("aria-label", `Remove point ${index + 1}`);
  away.onclick = () => {
    current.look.hints.splice(index, 1);
    drawHints();
    ($("hints").querySelector("button") || $("hint-mode")).focus();
    refresh();
  };
  item.append(color, ...numbers, away);
  return item;
}

$("presets").append(...PRESETS.map(([name, color]) => {
  const button = Object.assign(document.createElement("button"), { type: "button", title: name });
  button.setAttribute("aria-label", name);
  button.style.background = color;
  button.onclick = () => {
    $("hint-color").value = color;
    if (!isPlacing()) $("hint-mode").click();
  };
  return button;
}));

// ---------------------------------------------------------------------------------------------------------- reference

$("reference-pick").onclick = () => $("reference-file").click();
let picked = null; // The reference that is on its way; the one before stays until it has come.
$("reference-file").onchange = async () => {
  const [file] = $("reference-file").files;
  const photo = current;
  $("reference-file").value = "";
  if (!file || !photo) return;
  if (picked) leaveReference(picked);
  const next = picked = newReference(file, URL.createObjectURL(file));
  try {
    if (keeps) await withRetry(() => postReference(next), (note) => cover(note), next.left.signal);
  } catch (error) {
    if (picked !== next) return;
    picked = null;
    leaveReference(next);
    say(inWords(error));
    cover(`${file.name}: ${inWords(error)}`);
    if (error.status === 401) askForKey();
    return;
  }
  if (picked !== next) return;
  picked = null;
  if (!photos.includes(photo)) { leaveReference(next); return; }
  leaveReference(reference);
  reference = next;
  $("reference-shown").src = reference.url;
  change({ reference: true }, photo);
};
$("reference-drop").onclick = () => {
  if (picked) leaveReference(picked);
  picked = null;
  change({ reference: false });
  $("reference-pick").focus();
};

// ---------------------------------------------------------------------------------------------------------- downloads

const SUFFIXES = { "image/png": ".png", "image/tiff": ".tif", "image/jpeg": ".jpg" };

const colorName = (name, blob, copy = 1) =>
  `${name.replace(/\.[^.]*$/, "")}${copy > 1 ? `-${copy}` : ""}-color${SUFFIXES[blob.type] ?? ".png"}`;

/** Get a photograph as a file of the format that is chosen. */
function toSave(photo, onWait, signal) {
  const format = $("save-as").value;
  return withRetry(() => picture(photo, { format }, signal, format), onWait, signal);
}

function hand(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$("save").onclick = async () => {
  const photo = current;
  const { signal } = photo.left;
  $("save").disabled = true;
  try {
    const blob = await toSave(photo, (note) => cover(note), signal);
    hand(blob, colorName(photo.name, blob));
    say(`${colorName(photo.name, blob)} is saved.`);
    cover("");
  } catch (error) {
    if (photos.includes(photo)) fail(photo, error);
  } finally {
    drawAll();
  }
};

$("save-all").onclick = async () => {
  const ready = photos.filter((p) => p.state === "ready");
  const failed = [];
  const files = [];
  const taken = new Set();
  saving = true;
  drawAll();
  for (const [number, photo] of ready.entries()) {
    const { signal } = photo.left;
    if (signal.aborted) continue; // Removed meanwhile.
    cover(`Collecting ${number + 1} of ${ready.length}: ${photo.name}`);
    try {
      const blob = await toSave(photo, (note) => note && cover(note), signal);
      let name = colorName(photo.name, blob);
      for (let copy = 2; taken.has(name.toLowerCase()); copy++) name = colorName(photo.name, blob, copy);
      taken.add(name.toLowerCase());
      files.push({ name, blob });
    } catch (error) {
      if (!signal.aborted) failed.push(photo.name);
    }
  }
  let text = `${files.length} photographs are saved.` + (failed.length ? ` Not saved: ${failed.join(", ")}. Try again.` : "");
  let isWhole = !failed.length;
  try {
    if (files.length) hand(await zip(files), "photochrom.zip");
  } catch (error) {
    text = error.message;
    isWhole = false;
  }
  saving = false;
  cover(isWhole ? "" : text);
  say(text);
  drawAll();
};
let saving = false;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Pack files into a ZIP archive, stored: PNG is compressed already. */
async function zip(files) {
  const now = new Date();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const parts = [];
  const central = [];
  let offset = 0;
  // A record: pairs of width in bytes and value, little endian.
  const record = (...fields) => {
    const data = new DataView(new ArrayBuffer(fields.reduce((sum, [width]) => sum + width, 0)));
    let at = 0;
    for (const [width, value] of fields) {
      if (width === 2) data.setUint16(at, value, true);
      else data.setUint32(at, value, true);
      at += width;
    }
    return data;
  };
  for (const { name, blob } of files) {
    const title = new TextEncoder().encode(name);
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    // Version 2.0, names in UTF-8, stored.
    const facts = [[2, 20], [2, 0x800], [2, 0], [2, time], [2, date], [4, crc], [4, blob.size], [4, blob.size], [2, title.length], [2, 0]];
    const head = record([4, 0x04034b50], ...facts);
    central.push(record([4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), title);
    parts.push(head, title, blob);
    offset += head.byteLength + title.length + blob.size;
  }
  if (offset > 0xffff0000 || files.length > 0xffff) throw new Error("Too much for one ZIP: remove some photographs first.");
  const size = central.reduce((sum, part) => sum + part.byteLength, 0);
  const end = record([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0]);
  return new Blob([...parts, ...central, end], { type: "application/zip" });
}

// ------------------------------------------------------------------------------------------------------- what is shown

const say = (text) => { $("live").textContent = text; };

function cover(text) {
  $("cover").textContent = text;
  $("cover").hidden = !text;
}

function choose(photo) {
  current = photo;
  Object.assign(view, { scale: 0, x: 0.5, y: 0.5 });
  $("name").textContent = photo.name;
  $("after").removeAttribute("src");
  delete $("after").dataset.shown;
  $("variants").dataset.shown = "";
  for (const image of $("variants").querySelectorAll("img")) image.removeAttribute("src");
  const before = $("before");
  before.alt = `${photo.name} before`;
  before.hidden = false;
  before.onerror = async () => { // A kind that browsers do not show, such as TIFF: the service has it in gray.
    if (photo !== current) return;
    before.hidden = true;
    if (!photo.facts || !isKept(photo)) return;
    before.onerror = null;
    await pause(0);
    await preview.isOver(); // Of a large scan each takes long, and the one in color is waited for.
    if (photo !== current) return;
    const blob = await ask(photo, "", { saturation: 0, ...PREVIEW, max_side: 2048 }).catch(() => null);
    if (!blob || !photos.includes(photo)) return;
    URL.revokeObjectURL(photo.url); // The file's own, which nothing here can show.
    photo.url = URL.createObjectURL(blob);
    if (photo === current) before.src = photo.url;
  };
  before.onload = () => {
    // Until the service has answered, the gray one can be shown.
    if (photo !== current) return;
    before.hidden = false;
    photo.size = { width: before.naturalWidth, height: before.naturalHeight };
    $("stage").style.setProperty("--ratio", photo.size.height / photo.size.width);
    drawWaiting();
  };
  before.src = photo.url;
  drawKnobs();
  drawHints();
  drawState();
  drawAll();
  refresh(true);
  drawVeil(true);
  for (const shot of $("strip").querySelectorAll(".shot")) shot.setAttribute("aria-current", shot === shotOf(photo)?.firstElementChild);
  shotOf(photo)?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** Show the photograph as it came while nothing better is there. */
function drawWaiting() {
  if (current.facts || !current.size) return;
  const { width, height } = current.size;
  const scale = Math.min(view.width / width, view.height / height, 3);
  const style = $("before").style;
  style.width = `${width * scale}px`;
  style.height = `${height * scale}px`;
  style.transform = `translate(${(view.width - width * scale) / 2}px, ${(view.height - height * scale) / 2}px)`;
  $("pane-before").style.clipPath = "";
}

function drawState() {
  const photo = current;
  const failed = photo.state === "failed";
  const paused = photo.state === "paused";
  $("message").hidden = !(failed || paused);
  $("message").classList.toggle("wrong", failed);
  $("message-text").textContent = failed || paused ? photo.note : "";
  $("again").hidden = !failed || (photo.error instanceof Problem && [413, 415, 422].includes(photo.error.status) && !photo.facts);
  cover(["waiting", "sending", "working"].includes(photo.state) ? photo.note : "");
  const there = Boolean(photo.facts);
  $("split").hidden = !there;
  $("work").classList.toggle("empty", failed && !there);
  if (!there) $("tag-before").hidden = $("tag-after").hidden = true;
  drawFacts();
  if (there) {
    if ($("before").complete && !$("before").naturalWidth) $("before").onerror?.();
    layOut();
    if (photo.state === "ready" && overlay) drawVeil();
  } else drawWaiting();
  drawAll();
}

function drawFacts() {
  const facts = current.facts;
  $("facts").textContent = facts ? `${facts.width} \u00d7 ${facts.height} px` + (facts.megapixels ? `, ${facts.megapixels.toFixed(1)} megapixels` : "") : "";
  $("seen").hidden = !facts?.scene?.length;
  if (!facts) return;
  $("scenes").replaceChildren(...(facts.scene ?? []).map(({ name, probability }) => {
    const item = document.createElement("li");
    const words = document.createElement("span");
    words.textContent = name.replaceAll("_", " ").replace(/^\w/, (letter) => letter.toUpperCase());
    item.append(words);
    if (probability !== undefined) {
      const bar = document.createElement("i");
      bar.style.setProperty("--share", `${100 * probability}%`);
      item.append(`${Math.round(100 * probability)} %`, bar);
    }
    return item;
  }));
  const sure = facts.confidence?.mean;
  $("sureness").textContent = sure === undefined ? ""
    : `On the whole ${sure > 0.66 ? "quite" : sure > 0.33 ? "fairly" : "hardly"} sure of the colors (${Math.round(100 * sure)} %).`;
}

function drawAll() {
  const ready = photos.filter((p) => p.state === "ready").length;
  $("save").disabled = saving || !current?.facts || !["ready", "failed"].includes(current.state);
  $("save-all").hidden = photos.length < 2;
  $("save-all").disabled = saving || !ready;
  $("save-all").textContent = `All as ZIP (${ready})`;
  $("for-all").hidden = photos.length < 2;
}

const shotOf = (photo) => $("strip").querySelector(`li[data-key="${photo.key}"]`);

function drawStrip() {
  for (const item of [...$("strip").children]) {
    if (!photos.some((p) => String(p.key) === item.dataset.key)) item.remove();
  }
  for (const photo of photos) {
    if (shotOf(photo)) continue;
    const item = document.createElement("li");
    item.dataset.key = photo.key;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "shot" });
    button.onclick = () => choose(photo);
    const away = Object.assign(document.createElement("button"), { type: "button", className: "away", textContent: "\u00d7" });
    away.setAttribute("aria-label", `Remove ${photo.name}`);
    away.onclick = () => remove(photo);
    item.append(button, away);
    $("strip").append(item);
    drawShot(photo);
  }
  drawAll();
}

function drawShot(photo) {
  const button = shotOf(photo)?.firstElementChild;
  if (!button) return;
  if (photo.thumb && button.firstElementChild !== photo.thumb) button.prepend(photo.thumb);
  const words = { waiting: "Waiting", sending: "Sending", working: "Coloring", paused: "Waits", failed: "Failed", ready: "" }[photo.state];
  let state = button.querySelector(".state");
  if (!words) state?.remove();
  else if (!state) button.append((state = Object.assign(document.createElement("span"), { className: "state" })));
  if (words) {
    const text = photo.state === "sending" ? `${words} ${Math.round(100 * photo.progress)} %` : words;
    if (state.textContent !== text) state.textContent = text;
    if (photo.state === "sending" || photo.state === "working") {
      const bar = document.createElement("progress");
      bar.setAttribute("aria-label", `Progress of ${photo.name}`);
      if (photo.state === "sending") bar.value = photo.progress;
      state.append(bar);
    }
  }
  button.classList.toggle("failed", photo.state === "failed");
  button.setAttribute("aria-label", `${photo.name}${words ? `: ${photo.note || words}` : ""}`);
  button.setAttribute("aria-current", photo === current);
  button.title = photo.name;
}

$("again").onclick = () => {
  if (current.error instanceof Problem && current.error.status === 401) askForKey();
  else if (isThere(current)) { setState(current, "ready"); refresh(); } else again(current);
};

// ---------------------------------------------------------------------------------------------------------- API key

function askForKey() {
  if ($("lock").open) return;
  const had = sessionStorage.getItem("photochrom-key");
  $("lock-why").textContent = had ? "The service does not know the key that you gave. Check it for typing errors."
    : "Its operator has one for you. It stays in this tab until you close it.";
  $("key").value = "";
  $("lock").returnValue = "";
  $("lock").showModal();
}
$("lock").addEventListener("close", () => {
  const key = $("key").value.trim();
  $("key").value = "";
  if ($("lock").returnValue !== "ok" || !key) return;
  sessionStorage.setItem("photochrom-key", key);
  for (const photo of photos.filter((p) => p.error?.status === 401)) again(photo);
});

// ------------------------------------------------------------------------------------------------ how files come in

const pick = () => $("files").click();
$("pick").onclick = $("add").onclick = pick;
$("files").onchange = () => {
  add([...$("files").files]);
  $("files").value = "";
};

/** Collect the files of what was dropped; of folders only what is named like a picture. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [[...transfer.files], 0];
  const files = [];
  let skipped = 0;
  const walk = async (entry, inside) => {
    if (entry.isFile) {
      if (inside && !PICTURE_NAME.test(entry.name)) { skipped++; return; }
      files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      return;
    }
    const reader = entry.createReader();
    for (;;) { // It gives some hundred at a time.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const child of some.sort((a, b) => a.name.localeCompare(b.name))) await walk(child, true);
    }
  };
  for (const entry of entries) await walk(entry, false);
  return [files, skipped];
}

let over = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => { if (carriesFiles(event)) { over++; $("drop").hidden = false; } });
addEventListener("dragleave", (event) => { if (carriesFiles(event) && --over <= 0) { over = 0; $("drop").hidden = true; } });
addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
addEventListener("drop", async (event) => {
  over = 0;
  $("drop").hidden = true;
  if (!carriesFiles(event)) return;
  event.preventDefault();
  add(...(await filesOf(event.dataTransfer)));
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  add(files);
});
addEventListener("pagehide", () => { // What the service holds in memory is of no use to anybody now.
  for (const { id } of [...photos, reference]) if (id) forget(id);
});

// -------------------------------------------------------------------------------------------------------------- theme

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";

function drawTheme() {
  $("theme-name").textContent = isDark() ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `${isDark() ? "Light" : "Dark"} colors`);
}
if (localStorage.getItem("photochrom-theme")) document.documentElement.dataset.theme = localStorage.getItem("photochrom-theme");
$("theme").onclick = () => {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("photochrom-theme", next);
  drawTheme();
};
systemDark.addEventListener("change", drawTheme);
drawTheme();
drawVariants(4);
