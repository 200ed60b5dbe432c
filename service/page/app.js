// The page: photographs in, color out. No build step and no library; it talks to the service that it came from and to
// nobody else. A photograph is posted once (POST /pictures); every knob but size and tones is then a GET of the kept one.
//
// state.js holds what is decided. After every change `work` brings about what is missing, everything is drawn from the
// state, and `refresh` asks for what the screen should show; answers.js alone knows how to get it.

import { drawBrowse } from "./browse.js";
import "./compare.js";
import { drawEarlier } from "./earlier.js";
import "./files.js";
import { drawFilm } from "./film.js";
import "./first.js";
import "./gestures.js";
import { drawHead, drawSaving } from "./head.js";
import { drawHints } from "./hints.js";
import { drawKeeping } from "./keeping.js";
import { drawKnobs } from "./knobs.js";
import { drawLock } from "./lock.js";
import { drawOverlay } from "./overlay.js";
import { drawReference } from "./reference.js";
import { drawRegions } from "./regions.js";
import "./save.js";
import { drawShape } from "./shape.js";
import { drawStage, refresh } from "./stage.js";
import { changed, onChange } from "./state.js";
import { drawSwatches } from "./swatches.js";
import "./theme.js";
import { drawTools } from "./tools.js";
import { drawUndo } from "./undo.js";
import { drawVersions } from "./versions.js";
import { work } from "./work.js";

const draws = [
  drawHead, drawSaving, drawUndo, drawStage, drawKnobs, drawVersions, drawHints, drawRegions, drawSwatches, drawTools, drawShape,
  drawEarlier, drawReference, drawFilm, drawBrowse, drawOverlay, drawLock, drawKeeping,
];
for (const each of [work, ...draws, refresh]) onChange(each);
changed();
