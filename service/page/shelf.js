// Blobs laid down on the disk: a browser holds what comes over the network in memory, what its database gives in files.

import { done, ended } from "./store.js";

const DATABASE = "photochrom-shelf";
const IN_MEMORY = 64e6; // So many bytes may stay there.

let shelf = null;

/** Open the database; what an end of the browser left in it goes. */
async function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore("blobs", { autoIncrement: true });
  const base = await done(request);
  base.transaction("blobs", "readwrite").objectStore("blobs").clear();
  return base;
}

const blobsOf = (base, mode = "readwrite") => base.transaction("blobs", mode).objectStore("blobs");

/** Return the same blob out of a file, which goes with the last one who has it; itself where that cannot be. */
async function laidDown(blob) {
  try {
    const base = await (shelf ??= open());
    const store = blobsOf(base);
    const key = await done(store.add(blob));
    await ended(store.transaction); // Until then it is the one in memory.
    const laid = await done(blobsOf(base, "readonly").get(key));
    blobsOf(base).delete(key); // A blob that somebody holds stays readable.
    return laid ?? blob;
  } catch { // No database here, or no room in it.
    return blob;
  }
}

/** Make a shelf: its `lay` returns blobs like those it is given, of which only the first stay in memory. */
export function makeShelf(inMemory = IN_MEMORY) {
  let held = 0;
  return {
    lay: async (blob) => {
      if (held + blob.size > inMemory) return laidDown(blob);
      held += blob.size;
      return blob;
    },
  };
}
