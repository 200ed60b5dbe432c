// The service over HTTP: what answers.js asks, one function a route, and what can go wrong.

export class Problem extends Error {
  constructor(status, facts = {}, retryAfter = 0) {
    super(facts.detail || `The service answered with status ${status}.`);
    this.status = status;
    this.facts = facts;
    this.kind = String(facts.type || "").split(":").pop();
    this.retryAfter = retryAfter;
  }
}
export class Unreachable extends Error {}

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

/** The picture in an answer, which may break off while it comes. */
async function pictureOf(answer) {
  try {
    return await answer.blob();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
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

/** Have a picture kept; returns what the service tells of it, `id` among it. */
async function keep(file, seen, { signal, onProgress }) {
  const answer = await upload(`pictures${seen && `?${seen}`}`, file, typeOf(file), onProgress, signal);
  return JSON.parse(await answer.response.text());
}

/** Write marks of a query as they are, which addresses allow: regions are long enough without their codes. */
const plain = (query) => query.replace(/%(2C|2F|40|7E)/g, decodeURIComponent);

/** Color a kept picture. */
const render = async (id, query, signal) => pictureOf(await call(`pictures/${id}?${plain(query)}`, { signal }));

/** Get the map of where the network is sure of a kept picture. */
const sureness = async (id, signal) => pictureOf(await call(`pictures/${id}/confidence`, { signal }));

/** Get the colors that are plausible at a place of a kept picture, [{ color, share }], the likeliest first. */
const colors = async (id, query, signal) => (await (await call(`pictures/${id}/colors?${query}`, { signal })).json()).colors;

/** Color a picture that is not kept, its reference along with it. */
async function colorize(file, query, reference, { signal, onProgress }) {
  let [body, type] = [file, typeOf(file)];
  if (reference) {
    body = new FormData();
    body.append("image", file);
    body.append("reference", reference);
    type = "";
  }
  const answer = await upload(`colorize?${plain(query)}`, body, type, onProgress, signal);
  const blob = answer.response;
  if (blob.type !== "image/png") return { blob, facts: null };
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  bitmap.close();
  const scene = decodeURIComponent(answer.getResponseHeader("X-Photochrom-Scene") || "");
  return { blob, facts: { width, height, scene: scene ? [{ name: scene }] : [] } };
}

const forget = (id) => { call(`pictures/${id}`, { method: "DELETE", keepalive: true }).catch(() => {}); };

/** Tell which model colors. */
export const model = async () => (await call("model")).json();

export const service = { keep, render, sureness, colors, colorize, forget };
