// A persona's attributes as lines of `name: value`. Numbers, true and false keep their type;
// what would be read as something else stands in JSON's quotes.
import { isKept, parse, stringify } from "./numbers.js";

const ROUNDED = "a number of this size would be rounded. Put it in quotes, as text.";
const LINE = /^("(?:[^"\\]|\\.)*"|[^":][^:]*):\s*(.*)$/;

/** @returns {string} one line an attribute */
export function write(attributes) {
  return Object.entries(attributes)
    .map(([name, value]) => `${isPlain(name) && !name.includes(":") ? name : JSON.stringify(name)}: ${writeValue(value)}`)
    .join("\n");
}

/**
 * @returns {Object<string, string | number | bigint | boolean>}
 * @throws {Error} naming the line that is none
 */
export function read(text) {
  const attributes = {};
  text.split("\n").forEach((line, index) => {
    if (!line.trim()) return;
    const [, name, value] = LINE.exec(line.trim()) ?? [];
    if (!name || !value) throw new Error(`Attributes, line ${index + 1}: write it as name: value.`);
    const typed = readValue(value.trim());
    if (!isKept(typed)) throw new Error(`Attributes, line ${index + 1}: ${ROUNDED}`);
    attributes[name.startsWith('"') ? JSON.parse(name) : name.trim()] = typed;
  });
  return attributes;
}

const isPlain = (text) => text !== "" && text === text.trim() && !/["\n\r]/.test(text);

function writeValue(value) {
  const isText = typeof value === "string";
  return isText && isPlain(value) && readValue(value) === value ? value : stringify(value);
}

function readValue(text) {
  try {
    const value = parse(text);
    return typeof value === "object" ? text : value;
  } catch {
    return text;
  }
}
