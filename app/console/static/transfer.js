// Import and export of personas as JSON lines, by the gateway's own routes for many at once.
import { call } from "./api.js";
import { $, el, focus, hide } from "./dom.js";
import { Problem } from "./words.js";

const LINES = "application/x-ndjson";
const PIECE_BYTES = 200_000; // a piece is a step of the bar, and what a stop may still write
const LINE_BREAK = 10;
const MAX_SHOWN_FAILURES = 5;

/** What is under way, shown with a bar and a way to stop it. One at a time. */
class Progress {
  constructor(opener) {
    this.opener = opener;
    this.root = $("#transfer");
    this.abort = new AbortController();
    this.root.hidden = false;
    $("ul", this.root).replaceChildren();
    this.stop = $("button", this.root);
    this.stop.hidden = false;
    if (document.activeElement === opener) focus(this.stop);
    this.allowAnother(false);
    this.stop.onclick = () => this.abort.abort();
  }

  /** @param {number | null} share null where the end is not known */
  show(text, share) {
    $("p", this.root).textContent = text;
    const bar = $("progress", this.root);
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  }

  fail(text) {
    const list = $("ul", this.root);
    if (list.children.length < MAX_SHOWN_FAILURES) list.append(el("li", {}, text));
  }

  end(text) {
    this.show(text, 1);
    this.allowAnother(true);
    hide(this.stop, this.opener);
  }

  allowAnother(isAllowed) {
    for (const button of [$("#import"), $("#export")]) button.disabled = !isAllowed;
  }
}

/** The file in pieces of whole lines, each with the share of the file that ends with it. */
async function* piecesOf(file) {
  for (let [begin, size] = [0, PIECE_BYTES]; begin < file.size; ) {
    const end = Math.min(begin + size, file.size);
    const bytes = new Uint8Array(await file.slice(begin, end).arrayBuffer());
    const length = end === file.size ? bytes.length : bytes.lastIndexOf(LINE_BREAK) + 1;
    if (length === 0) {
      size *= 2; // one line is longer than that
      continue;
    }
    [begin, size] = [begin + length, PIECE_BYTES];
    yield { piece: bytes.subarray(0, length), share: begin / file.size };
  }
}

/** Write every persona of the file; a line that is refused is named, and the others go on. */
export async function importFile(file) {
  const progress = new Progress($("#import"));
  const { signal } = progress.abort;
  let [lines, written, refused] = [0, 0, 0];
  try {
    for await (const { piece, share } of piecesOf(file)) {
      const response = await call("/v1/personas/import", { method: "POST", body: piece, type: LINES, signal });
      const report = await response.json();
      for (const { line, message } of report.errors) progress.fail(`Line ${lines + line}: ${message}`);
      lines += report.lines;
      written += report.written;
      refused += report.refused;
      progress.show(`${written} imported`, share);
    }
  } catch (problem) {
    if (!signal.aborted) progress.fail(`Behind line ${lines}: ${problem.message}`);
    progress.abort.abort();
  }
  progress.end(`${written} imported${refused ? `, ${refused} refused` : ""}${signal.aborted ? "; stopped" : ""}.`);
}

/** Collect all personas, in the order of their ids, and hand them over as a file. */
export async function exportFile() {
  const progress = new Progress($("#export"));
  const { signal } = progress.abort;
  const parts = [];
  let [count, rest, last] = [0, "", "{}"];
  try {
    const response = await call("/v1/personas/export", { signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      last = lines.at(-1) ?? last;
      count += lines.length;
      progress.show(`${count} read`, null);
    }
    const { error } = JSON.parse(last); // a failure on the way is the last line
    if (error) throw Problem.of(503, error);
  } catch (problem) {
    if (!signal.aborted) progress.fail(problem.message);
    progress.end("Nothing was exported.");
    return;
  }
  const url = URL.createObjectURL(new Blob(parts, { type: LINES }));
  el("a", { href: url, download: "personas.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  progress.end(`${count} exported.`);
}
