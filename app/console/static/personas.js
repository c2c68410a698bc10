// The rail of personas: pages of ids, the chosen one, its editor and its deletion.
import { json } from "./api.js";
import { read, write } from "./attributes.js";
import { $, el, focus, isFocusLost, onSubmit, say } from "./dom.js";
import { forgotten } from "./words.js";

const PAGE = 50;
const LAST = "~"; // the last character that an id may hold
const ALPHABET = "+-.0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz|~";
const MAX_ID = 128;
const EXAMPLE = { id: "ada", text: "Ada is a vegan cook from Lisbon. Ada loves lentils." };

export const pathOf = (id) => `/v1/personas/${encodeURIComponent(id)}`;
const pageAfter = (after, limit) =>
  json(`/v1/personas?${new URLSearchParams({ limit, ...(after && { after }) })}`);

/** The greatest id below all that begin so: a page after it opens with them. Null: the start. */
export function before(prefix) {
  if (!prefix) return null;
  const [head, last] = [prefix.slice(0, -1), ALPHABET.indexOf(prefix.at(-1))];
  if (last === 0) return head || null;
  return (head + ALPHABET[last - 1]).padEnd(MAX_ID, LAST);
}

const isPrefix = (text) => text.length <= MAX_ID && [...text].every((letter) => ALPHABET.includes(letter));

export class Personas {
  /** `onChoose(id)` hears who the next question is for; null for nobody. */
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.chosen = null;
    this.list = $("#persona-ids");
    this.note = $("#personas-note");
    this.listen();
  }

  listen() {
    let typing = 0;
    $("#persona-search").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.load(), 150);
    });
    this.list.addEventListener("change", (event) => this.choose(event.target.value || null));
    $("#persona-new").addEventListener("click", () => this.edit(null));
    $("#persona-edit").addEventListener("click", () => this.edit(this.shown));
    $("#persona-delete").addEventListener("click", () => {
      $("#deletion-title").textContent = `Delete ${this.chosen}?`;
      $("#deletion").showModal();
    });
    onSubmit($("#editor"), () => this.save());
    onSubmit($("#deletion"), () => this.remove());
  }

  /** Show the first page of what is looked for; later pages come by a button. */
  async load() {
    const prefix = $("#persona-search").value.trim();
    this.prefix = prefix;
    if (!isPrefix(prefix)) {
      this.list.replaceChildren(this.option(null));
      say(this.note, "Ids hold letters, digits and . _ @ : + ~ = | - only.");
      return;
    }
    await this.loadPage(before(prefix), true);
  }

  async loadPage(after, isFirst) {
    const { prefix } = this;
    try {
      const page = await pageAfter(after, PAGE);
      if (prefix === this.prefix) this.showPage(page, isFirst);
    } catch (problem) {
      if (isFirst) this.list.replaceChildren(this.option(null));
      say(this.note, problem.message, true);
    }
  }

  showPage({ ids, next_after: next }, isFirst) {
    const found = ids.filter((id) => id.startsWith(this.prefix));
    if (isFirst) this.list.replaceChildren(this.option(null));
    $("button", this.list)?.remove();
    this.list.append(...found.map((id) => this.option(id)));
    const count = this.radios().length;
    if (next && found.length === ids.length) {
      const more = el("button", { type: "button", className: "quiet" }, "Show more");
      more.addEventListener("click", async () => {
        const isFocused = document.activeElement === more;
        more.disabled = true;
        await this.loadPage(next, false);
        more.disabled = false; // it is still there where the page did not come
        if (isFocused && isFocusLost()) focus(more.isConnected ? more : this.radios()[count]);
      });
      this.list.append(more);
    }
    const isEmpty = isFirst && !found.length;
    say(this.note, isEmpty ? (this.prefix ? "Nobody's id begins so." : "Nobody yet.") : "");
    if (isEmpty && !this.prefix) {
      const add = el("button", { type: "button", className: "quiet" }, "Add Ada, an example");
      add.addEventListener("click", () => this.addExample());
      this.note.append(" ", add);
    }
  }

  async addExample() {
    try {
      await this.create(EXAMPLE.id, EXAMPLE.text, {});
      if (isFocusLost()) focus(this.radio(EXAMPLE.id)); // the button has gone
    } catch (problem) {
      say(this.note, problem.message, true);
    }
  }

  option(id) {
    const radio = el("input", { type: "radio", name: "persona", value: id ?? "", checked: id === this.chosen });
    const name = el("span", { className: id ? "" : "nobody" }, id ?? "Nobody");
    return el("label", {}, radio, name);
  }

  radios() {
    return [...this.list.querySelectorAll("input")];
  }

  radio(id) {
    return this.radios().find((input) => input.value === (id ?? ""));
  }

  async choose(id) {
    this.chosen = id;
    this.shown = null;
    this.onChoose(id);
    const radio = this.radio(id);
    if (radio) radio.checked = true;
    $("#persona").hidden = true;
    await this.showChosen();
  }

  /** Show the chosen persona as the gateway has it now. */
  async showChosen() {
    const id = this.chosen;
    if (!id) return;
    try {
      const persona = await json(pathOf(id));
      if (this.chosen === id) this.show(persona);
      say(this.note, "");
    } catch (problem) {
      say(this.note, problem.message, true);
    }
  }

  /** Show again what somebody else may have written: the list, and the chosen one. */
  async refresh() {
    await this.load();
    await this.showChosen();
  }

  show(persona) {
    this.shown = persona;
    this.life = forgotten(persona.ttl_s);
    say($("#persona .life"), this.life);
    $("#persona .persona-text").textContent = persona.text;
    const pairs = Object.entries(persona.attributes);
    $("#persona .attributes").replaceChildren(
      ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { dir: "auto" }, String(value))]),
    );
    $("#persona .version").textContent = `Version ${persona.version}`;
    $("#persona").hidden = false;
  }

  edit(persona) {
    this.edited = persona;
    $("#editor-title").textContent = persona ? `Edit ${persona.id}` : "New persona";
    $("#editor-id").value = persona?.id ?? "";
    $("#editor-id").readOnly = Boolean(persona);
    $("#editor-text").value = persona?.text ?? "";
    $("#editor-attributes").value = write(persona?.attributes ?? {});
    say($("#editor .life"), persona && this.life && `${this.life}, which an edit leaves as it is.`);
    say($("#editor .note"), "");
    $("#editor").showModal();
    if (persona) $("#editor-text").focus();
  }

  async save() {
    const id = $("#editor-id").value.trim();
    const [text, attributes] = [$("#editor-text").value, read($("#editor-attributes").value)];
    if (this.edited) await this.change(id, text, attributes);
    else await this.create(id, text, attributes);
  }

  /** The time to live stays as it is. */
  async change(id, text, attributes) {
    const old = Object.keys(this.edited.attributes);
    const gone = old.filter((name) => !Object.hasOwn(attributes, name));
    const patch = { ...attributes, ...Object.fromEntries(gone.map((name) => [name, null])) };
    await json(pathOf(id), { method: "PATCH", body: { text, attributes: patch } });
    await this.choose(id);
  }

  /** The gateway writes over what is there, so a new persona needs a look first. */
  async create(id, text, attributes) {
    if (isPrefix(id) && (await pageAfter(before(id), 1)).ids.includes(id)) {
      const instead = `Take another id, or choose ${id} and edit it.`;
      throw new Error(`There is a persona ${id} already. ${instead}`);
    }
    await json(pathOf(id), { method: "PUT", body: { text, attributes } });
    if (id !== this.chosen) {
      // What was looked for before need not begin like what is new.
      if (!id.startsWith($("#persona-search").value.trim())) $("#persona-search").value = "";
      this.chosen = id;
      await this.load();
    }
    await this.choose(id);
  }

  async remove() {
    await json(pathOf(this.chosen), { method: "DELETE" });
    await this.choose(null);
    await this.load();
    $("#deletion").close(); // it would give the focus to its opener, which has gone
    focus(this.radio(null));
  }
}
