// The request of a card as code to copy. The key is never written out: a variable stands for it.
import { key } from "./api.js";
import { $, onSubmit, say } from "./dom.js";

const PATH = "/v1/chat/completions";

/** A request for a POSIX shell. */
export function curl(body, origin) {
  const lines = [`curl -sN ${quote(origin + PATH)}`, "-H 'Content-Type: application/json'"];
  if (key.get()) lines.push('-H "Authorization: Bearer $PERSONADUAL_KEY"');
  lines.push(`-d ${quote(JSON.stringify(body, null, 2))}`);
  return lines.join(" \\\n  ");
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The same with OpenAI's client. */
export function python(body, origin) {
  const { model, messages, temperature, max_tokens: maxTokens, personadual } = body;
  const secret = key.get() ? 'os.environ["PERSONADUAL_KEY"]' : '"none"';
  return [
    ...(key.get() ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(`${origin}/v1`)}, api_key=${secret})`,
    "reply = client.chat.completions.create(",
    `    model=${literal(model ?? "")},`,
    `    messages=${literal(messages)},`,
    `    temperature=${temperature},`,
    `    max_tokens=${maxTokens},`,
    `    extra_body=${literal({ personadual })},`,
    ")",
    "print(reply.personadual, reply.choices[0].message.content)",
  ].join("\n");
}

/** JSON is Python but for true, false and null; here, outside strings, only values can be those. */
function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item)}`).join(", ")}}`;
}

const REFUSED = "The browser does not let this page copy: select the text and copy it yourself.";
const LANGUAGES = { "tab-curl": curl, "tab-python": python };

export class Code {
  constructor() {
    this.dialog = $("#code");
    this.tabs = [...this.dialog.querySelectorAll("[role=tab]")];
    for (const tab of this.tabs) {
      tab.addEventListener("click", () => this.choose(tab));
      tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
        const other = this.tabs.find((one) => one !== tab);
        this.choose(other);
        other.focus();
      });
    }
    onSubmit(this.dialog, () => copy($("#code-text")));
  }

  show(body) {
    this.body = body;
    say($(".note", this.dialog), "");
    this.choose(this.tabs[0]);
    this.dialog.showModal();
  }

  choose(tab) {
    for (const one of this.tabs) {
      one.setAttribute("aria-selected", one === tab);
      one.tabIndex = one === tab ? 0 : -1;
    }
    const text = $("#code-text");
    text.setAttribute("aria-labelledby", tab.id);
    text.textContent = LANGUAGES[tab.id](this.body, location.origin);
  }
}

/** Copy an element's text; pages that come over plain HTTP have no clipboard but the selection's. */
async function copy(element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent).catch(() => { throw new Error(REFUSED); });
    return;
  }
  getSelection().selectAllChildren(element);
  if (!document.execCommand("copy")) throw new Error(REFUSED);
}
