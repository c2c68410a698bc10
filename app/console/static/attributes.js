// A persona's attributes as lines of `name: value`. Numbers, true and false keep their type;
// what would be read as something else stands in JSON's quotes.

const LINE = /^("(?:[^"\\]|\\.)*"|[^":][^:]*):\s*(.*)$/;

/** @returns {string} one line an attribute */
export function write(attributes) {
  return Object.entries(attributes)
    .map(([name, value]) => `${isPlain(name) && !name.includes(":") ? name : JSON.stringify(name)}: ${writeValue(value)}`)
    .join("\n");
}

/**
 * @returns {Object<string, string | number | boolean>}
 * @throws {Error} naming the line that is none
 */
export function read(text) {
  const attributes = {};
  text.split("\n").forEach((line, index) => {
    if (!line.trim()) return;
    const [, name, value] = LINE.exec(line.trim()) ?? [];
    if (!name || !value) throw new Error(`Attributes, line ${index + 1}: write it as name: value.`);
    attributes[name.startsWith('"') ? JSON.parse(name) : name.trim()] = readValue(value.trim());
  });
  return attributes;
}

const isPlain = (text) => text !== "" && text === text.trim() && !/["\n\r]/.test(text);

function writeValue(value) {
  const isText = typeof value === "string";
  return isText && isPlain(value) && readValue(value) === value ? value : JSON.stringify(value);
}

function readValue(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? text : value;
  } catch {
    return text;
  }
}
