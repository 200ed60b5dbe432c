// What went wrong, in words that say what to do.

import { Problem, Unreachable } from "./service.js";

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
export function inWords(error) {
  if (error instanceof Unreachable) return "The service cannot be reached. Is the network there, and the service running?";
  if (!(error instanceof Problem)) return `Something went wrong in this page: ${error.message}`;
  return (WORDS[error.kind] || (() => error.message))(error.facts);
}

/** Return the seconds after which trying again by itself makes sense; 0 where it does not. */
export function patience(error, attempt) {
  if (error instanceof Unreachable) return Math.min(5 * 2 ** attempt, 60);
  if (error instanceof Problem && error.status === 503 && error.kind !== "failing") return Math.max(error.retryAfter, 1);
  return 0;
}
