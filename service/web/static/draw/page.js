// Draw: what is on the canvas goes to the chosen models, and what they say is shown.

import { Asker, pathOf } from "./asking.js";
import { Canvas } from "./canvas.js";
import { takePictures } from "./intake.js";
import { follow } from "../live.js";
import { ModelChoice } from "./choice.js";
import { drawWithKeys, drawWithPointers } from "./pens.js";
import { showPixels, showSent } from "./pixels.js";
import { sample } from "./samples.js";
import { hideFile, showBox, showFile } from "./stage.js";
import { SIDE, asPicture } from "./strokes.js";
import { Verdict, agreement } from "./verdicts.js";

// While a stroke goes on, models are asked so often.
const PAUSE_MS = 100;
// What is said to a screen reader is said when nothing has changed for so long.
const SAID_AFTER_MS = 1000;
// What is wrong with the model that is asked; all else is wrong with the picture, or with the service.
const OF_THE_MODEL = new Set([404, 409]);

const find = (id) => document.getElementById(id);

if (find("canvas")) start();
else {
  follow();
  document.addEventListener("numeral:refreshed", () => location.reload());
}

function start() {
  const { references, base } = JSON.parse(find("choice").textContent);
  const brush = find("brush");
  const canvas = new Canvas(find("canvas"), changed);
  const choice = new ModelChoice(references, Number(find("asked").dataset.most), chosen);
  /** @type {Map<string, {asker: Asker, verdict: Verdict}>} */
  let models = new Map();
  let picture = null;
  let due = null;
  let made = 0;
  let sent = 0;
  let saying = null;

  drawWithPointers(canvas, () => Number(brush.value));
  drawWithKeys(canvas, () => Number(brush.value));
  takePictures({ button: find("upload"), input: find("file"), stage: find("stage") }, (file) => canvas.put({ file }));
  find("undo").addEventListener("click", () => canvas.undo());
  find("clear").addEventListener("click", () => canvas.clear());
  find("download").addEventListener("click", download);
  brush.addEventListener("input", showTip);
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", () => canvas.put({ strokes: sample(Number(button.dataset.sample), Number(brush.value)) }));
  }
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.target.closest("select, details[open]")) return;
    if (event.key === "Escape") canvas.clear();
    else if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey) {
      event.preventDefault();
      canvas.undo();
    }
  });
  showTip();
  chosen();
  showPixels(null);

  function changed(isFinished) {
    find("undo").disabled = !canvas.canUndo;
    find("clear").disabled = canvas.isEmpty;
    find("invitation").hidden = !canvas.isEmpty;
    if (!isFinished) {
      hideFile();
      showBox(null);
      due ??= setTimeout(() => send(false), PAUSE_MS);
    } else send(true);
    showBusy();
  }

  // Whether an answer to what is on the canvas is still to come.
  function showBusy() {
    const isAsking = [...models.values()].some(({ asker }) => asker.isBusy);
    find("verdicts").setAttribute("aria-busy", String(canvas.isDrawing || due !== null || sent < made || isAsking));
  }

  async function send(isFinished) {
    clearTimeout(due);
    due = null;
    const number = ++made;
    const { file, strokes } = canvas.content;
    const next = canvas.isEmpty ? null : file ? asImage(file) : await asPicture(strokes);
    // Browsers take their time to encode a picture; a later one may have been sent by then.
    if (number < sent) return;
    sent = number;
    picture = next;
    if (file) showFile(file);
    else if (isFinished) hideFile();
    find("problem").textContent = "";
    find("download").disabled = !picture;
    if (!picture) return rest();
    showSent(file ? `${file.name || "a pasted picture"}, as it is` : `${SIDE}×${SIDE} pixels, black on white`);
    showScript();
    for (const { asker } of models.values()) asker.ask(picture, isFinished);
  }

  function rest() {
    for (const { asker, verdict } of models.values()) {
      asker.stop();
      verdict.rest();
    }
    showSent("–");
    showExplanation(null);
    told();
  }

  function chosen() {
    const before = models;
    models = new Map(choice.references.map((reference) => [reference, before.get(reference) ?? added(reference)]));
    for (const [reference, { asker }] of before) if (!models.has(reference)) asker.stop();
    find("verdicts").replaceChildren(...[...models.values()].map(({ verdict }) => verdict.element));
    find("verdicts").classList.toggle("single", models.size === 1);
    find("verdicts").dataset.count = models.size;
    find("agreement").hidden = models.size === 1;
    for (const [reference, { asker }] of models) if (picture && !before.has(reference)) asker.ask(picture, true);
    showScript();
    told();
  }

  function added(reference) {
    const verdict = new Verdict(find("verdict"), choice.describe(reference));
    const asker = new Asker(
      reference,
      (answer, milliseconds) => {
        verdict.show(answer, milliseconds);
        // All are shown the same pixels: the preprocessing is the service's, not the model's.
        showExplanation(answer.predictions[0].explanation);
        told();
      },
      (error) => {
        if (OF_THE_MODEL.has(error.status)) verdict.refuse(error.message);
        else {
          find("problem").textContent = error.message;
          verdict.rest("No answer");
          showExplanation(null);
        }
        told();
      },
    );
    return { asker, verdict };
  }

  function showExplanation(explanation) {
    showPixels(explanation);
    showBox(canvas.isDrawing ? null : explanation?.box);
  }

  function told() {
    showBusy();
    const verdicts = [...models.values()].map(({ verdict }) => verdict);
    const [{ digit }] = verdicts;
    find("glance").hidden = digit === undefined;
    find("glance").textContent = digit ?? "?";
    find("agreement").textContent = agreement(verdicts);
    clearTimeout(saying);
    saying = setTimeout(() => {
      if (canvas.isDrawing) return;
      find("said").textContent = verdicts.map(({ summary }) => summary).join(" ");
    }, SAID_AFTER_MS);
  }

  function showScript() {
    const name = fileName(picture);
    find("file-name").textContent = name;
    find("curl").textContent = choice.references
      .map((reference) => `curl -X POST '${new URL(pathOf(reference), base)}' -H 'Content-Type: ${picture?.type ?? "image/png"}' --data-binary @${name}`)
      .join("\n");
  }

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(picture);
    link.download = fileName(picture);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href));
  }

  function showTip() {
    const share = canvas.element.clientWidth / SIDE;
    find("tip").style.width = find("tip").style.height = `${Math.round(Number(brush.value) * share)}px`;
  }
}

// A file whose kind the browser does not know is sent as a picture nevertheless: the service says what it is not.
function asImage(file) {
  return file.type.startsWith("image/") ? file : new Blob([file], { type: "image/*" });
}

function fileName(picture) {
  const kind = /^image\/([a-z]+)$/.exec(picture?.type ?? "image/png")?.[1] ?? "image";
  return `digit.${kind === "jpeg" ? "jpg" : kind}`;
}
