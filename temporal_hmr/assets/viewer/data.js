"use strict";
// What the page carries: JSON that describes the result, and the bytes of its arrays and pictures.

function readData() {
  const data = JSON.parse(take("head"));
  const bytes = fromBase64(take("arrays"));
  const arrays = data.arrays.map((entry) => decoded(entry, bytes));
  data.frames = arrays[data.frames];
  for (const name of ["faces", "skinJoints", "skinWeights"]) {
    data.body[name] = arrays[data.body[name]];
  }
  const inArrays = ["status", "confidence", "template", "restJoints", "quaternions",
    "translations", "boxes", "keypoints", "keypointConfidence"];
  for (const person of data.people) {
    for (const name of inArrays) if (name in person) person[name] = arrays[person[name]];
    for (const name in person.curves) person.curves[name] = arrays[person.curves[name]];
    person.shown = true;
  }
  if (data.pictures) data.pictures.bytes = fromBase64(take("picture-bytes"));
  return data;
}

// The text of an element, which then makes room in memory.
function take(id) {
  const element = document.getElementById(id);
  const text = element.textContent;
  element.remove();
  return text;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// Numbers as output/viewer/arrays.py packs them; what is not a number is NaN.
function decoded(entry, bytes) {
  const count = entry.shape.reduce((product, size) => product * size, 1);
  const stored = { float32: Float32Array, float16: Uint16Array, int16: Int16Array,
    uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array }[entry.kind];
  const end = entry.at + count * stored.BYTES_PER_ELEMENT;
  const values = new stored(bytes.slice(entry.at, end).buffer);
  if (values.length !== count) throw new Error("the page is cut short: get the file anew");
  if (entry.kind === "float16") return Float32Array.from(values, halfToNumber);
  if (entry.kind !== "int16") return values;
  return Float32Array.from(values, (steps) => (steps === -32768 ? NaN : steps * entry.step));
}

// IEEE 754 half precision.
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
