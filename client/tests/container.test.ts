import { describe, expect, test } from "vitest";
import { BlobError, unpack } from "../src/container";
import { blobOf, facts, NAMES, pack, randomBytes, randomness, survives } from "./files";

const PAYLOAD = Uint8Array.of(1, 2, 3);
const BLOB = pack([
  ["S", PAYLOAD],
  ["z", randomBytes(randomness(1), 15)],
]);
const LAST_CHUNK = 15 + 9;

describe("unpack", () => {
  test.each(NAMES)("reads the header of %s", (name) => {
    const { header } = unpack(blobOf(name));
    const { width, height, space, quality, fineness, model } = facts(name);
    expect(header).toMatchObject({ width, height, space, quality, fineness, model });
  });

  test("gives payloads by type, of unknown types too", () => {
    const { chunks } = unpack(BLOB);
    expect([...chunks.keys()]).toEqual(["S", "z"]);
    expect([...chunks.get("S")!]).toEqual([...PAYLOAD]);
  });

  test("reads a blob in the middle of a buffer", () => {
    const buffer = new Uint8Array(BLOB.length + 20);
    buffer.set(BLOB, 10);
    const { chunks } = unpack(buffer.subarray(10, 10 + BLOB.length));
    expect([...chunks.get("S")!]).toEqual([...PAYLOAD]);
  });

  test("refuses every truncation", () => {
    for (let length = 0; length < BLOB.length; length++) {
      // Cut exactly before the last chunk, which is optional, a blob is whole.
      const whole = length === BLOB.length - LAST_CHUNK;
      expect(
        survives(() => unpack(BLOB.subarray(0, length))),
        `${length}`,
      ).toBe(whole);
    }
  });

  test("refuses every flipped bit", () => {
    for (let bit = 0; bit < 8 * BLOB.length; bit++) {
      const damaged = BLOB.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => unpack(damaged), `bit ${bit}`).toThrow(BlobError);
    }
  });

  test.each([
    { version: 2 },
    { version: 6 },
    { flags: 1 },
    { space: 9 },
    { quality: 0 },
    { quality: 101 },
    { fineness: 0 },
    { fineness: 101 },
    { width: 0 },
    { height: 0 },
    { width: 2 ** 32 - 1, height: 2 ** 32 - 1 },
    { width: 2 ** 14, height: 2 ** 13 },
  ])("refuses %o", (values) => {
    expect(survives(() => unpack(pack([["S", PAYLOAD]])))).toBe(true);
    expect(() => unpack(pack([["S", PAYLOAD]], values))).toThrow(BlobError);
  });

  test("refuses a chunk twice, no picture, and two", () => {
    const s: [string, Uint8Array] = ["S", PAYLOAD];
    expect(() => unpack(pack([s, s]))).toThrow("twice");
    expect(() => unpack(pack([]))).toThrow("no picture");
    expect(() => unpack(pack([s, ["P", PAYLOAD]]))).toThrow("no picture");
  });

  test("of any bytes is a BlobError", () => {
    const random = randomness(2);
    for (let round = 0; round < 2000; round++) {
      const data = randomBytes(random, random(200));
      if (round % 2) data.set([0x4c, 0x49, 0x4d, 0x47, 5].slice(0, data.length));
      expect(() => unpack(data)).toThrow(BlobError);
    }
  });
});
