// Import and export of personas as JSONL: one `{"id", "text", "attributes"}` a line.
import { json } from "./api.js";
import { $, el } from "./dom.js";
import { pathOf } from "./personas.js";

const AT_ONCE = 4;
const PAGE = 500;
const MAX_SHOWN_FAILURES = 5;

/** What is under way, shown with a bar and a way to stop it. One at a time. */
class Progress {
  constructor() {
    this.root = $("#transfer");
    this.abort = new AbortController();
    this.failures = 0;
    this.root.hidden = false;
    $("ul", this.root).replaceChildren();
    this.stop = $("button", this.root);
    this.stop.hidden = false;
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
    this.failures += 1;
    if (this.failures <= MAX_SHOWN_FAILURES) $("ul", this.root).append(el("li", {}, text));
  }

  end(text) {
    this.show(text, 1);
    this.stop.hidden = true;
  }
}

/** Do the work on every item, a few at once; ends early when aborted. */
async function forEach(items, signal, work) {
  const source = items[Symbol.asyncIterator]?.() ?? items[Symbol.iterator]();
  const worker = async () => {
    for (let next = await source.next(); !next.done && !signal.aborted; next = await source.next()) {
      await work(next.value);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  await source.return?.();
}

/** The lines of a file with their numbers, and how much of it has been read. */
async function* linesOf(file) {
  let [rest, number, readBytes] = ["", 0, 0];
  const counted = new TransformStream({
    transform(chunk, out) { readBytes += chunk.byteLength; out.enqueue(chunk); },
  });
  const reader = file.stream().pipeThrough(counted).pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); ; part = await reader.read()) {
    const lines = (rest + (part.value ?? "")).split("\n");
    rest = part.done ? "" : lines.pop();
    for (const line of lines) {
      number += 1;
      if (line.trim()) yield { line, number, share: readBytes / file.size };
    }
    if (part.done) return;
  }
}

function parse(line) {
  let persona;
  try {
    persona = JSON.parse(line);
  } catch {
    throw new Error("not JSON");
  }
  if (typeof persona?.id !== "string" || !persona.id) throw new Error('"id" is missing');
  return persona;
}

/** Whether the next line would fare no better: nobody answers, or nobody may. */
const isOfAll = ({ status }) => status === 0 || status === 401 || status === 403 || status >= 500;

/** Put every persona of the file; a line that is refused is named, and the others go on. */
export async function importFile(file) {
  const progress = new Progress();
  const { signal } = progress.abort;
  let written = 0;
  await forEach(linesOf(file), signal, async ({ line, number, share }) => {
    try {
      const { id, text, attributes, ttl_s } = parse(line);
      await json(pathOf(id), { method: "PUT", body: { text, attributes, ttl_s }, signal });
      written += 1;
    } catch (problem) {
      if (signal.aborted) return;
      progress.fail(`Line ${number}: ${problem.message}`);
      if (isOfAll(problem)) progress.abort.abort();
    }
    progress.show(`${written} imported`, share);
  });
  const failed = progress.failures ? `, ${progress.failures} refused` : "";
  progress.end(`${written} imported${failed}${signal.aborted ? "; stopped" : ""}.`);
}

async function* ids(signal) {
  for (let after = null; ; ) {
    const query = new URLSearchParams({ limit: PAGE, ...(after && { after }) });
    const page = await json(`/v1/personas?${query}`, { signal });
    yield* page.ids;
    after = page.next_after;
    if (!after) return;
  }
}

/** Collect all personas, in the order of their ids, and hand them over as a file. */
export async function exportFile() {
  const progress = new Progress();
  const { signal } = progress.abort;
  const lines = [];
  let begun = 0;
  progress.show("0 read", null);
  try {
    await forEach(ids(signal), signal, async (id) => {
      const place = begun++;
      const persona = await json(pathOf(id), { signal }).catch(ifGone);
      lines[place] = persona ? `${JSON.stringify({ id, text: persona.text, attributes: persona.attributes })}\n` : "";
      progress.show(`${begun} read`, null);
    });
  } catch (problem) {
    if (!signal.aborted) progress.fail(problem.message);
    progress.abort.abort();
  }
  if (signal.aborted) {
    progress.end("Nothing was exported.");
    return;
  }
  const url = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  el("a", { href: url, download: "personas.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  progress.end(`${lines.filter(Boolean).length} exported.`);
}

/** Deleted since it was listed: no failure of the export. */
function ifGone(problem) {
  if (problem.status === 404) return null;
  throw problem;
}
