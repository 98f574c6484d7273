import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { BlobError, unpack } from "../src/container";
import { type Latents, readLatents } from "../src/latent";
import * as files from "./files";

function read(blob: Uint8Array): Latents {
  const { header, chunks } = unpack(blob);
  return readLatents(header, chunks, files.PRIORS[header.space]);
}

function largestDifference(one: Float32Array, other: Float32Array): number {
  expect(one.length).toBe(other.length);
  return one.reduce((most, value, at) => Math.max(most, Math.abs(value - other[at]!)), 0);
}

describe("readLatents", () => {
  test.each(files.WITH_LATENTS)("of %s is what Python reads", (name) => {
    const latents = read(files.blobOf(name));
    const { rows, columns, step } = files.facts(name);
    expect(latents).toMatchObject({ rows, columns });
    expect(latents.step).toBeCloseTo(step, 12);
    expect(
      Buffer.compare(
        Buffer.from(latents.symbols.buffer),
        Buffer.from(files.symbolsOf(name).buffer),
      ),
    ).toBe(0);
    expect(largestDifference(latents.rounded, files.floatsOf(name, "rounded"))).toBe(0);
    // Python's exp and log2 are in float32.
    expect(largestDifference(latents.hints, files.floatsOf(name, "hints"))).toBeLessThan(5e-5);
  });

  test.each(["v3", "v4", "v5"])(
    "of golden blobs of %s has the symbols they were made of",
    (version) => {
      const expected: Record<string, { symbols_sha256?: string }> = JSON.parse(
        readFileSync(
          new URL(`../../tests/golden/${version}/expected.json`, import.meta.url),
          "utf8",
        ),
      );
      for (const [name, { symbols_sha256 }] of Object.entries(expected)) {
        if (!symbols_sha256) continue;
        const { symbols } = read(files.blobOf(`${version}-${name}`));
        const bigEndian = Buffer.from(symbols.buffer.slice(0)).swap16();
        expect(createHash("sha256").update(bigEndian).digest("hex"), name).toBe(symbols_sha256);
      }
    },
  );

  test("of a picture that is kept as AVIF is a BlobError", () => {
    expect(() => read(files.blobOf("v5-avif"))).toThrow(BlobError);
  });
});

describe("damage", () => {
  const kinds = [
    { type: "S", name: "v5-fine" },
    { type: "P", name: "v5-palette" },
  ];

  test.each(kinds)("flipped bits in a payload $type under a right checksum", ({ type, name }) => {
    const random = files.randomness(3);
    const { header, chunks } = unpack(files.blobOf(name));
    let readable = 0;
    for (let round = 0; round < 300; round++) {
      const payload = chunks.get(type)!.slice();
      for (let flips = 1 + random(4); flips > 0; flips--) {
        payload[random(payload.length)]! ^= 1 + random(255);
      }
      if (files.survives(() => read(files.pack([[type, payload]], { ...header, space: 1 }))))
        readable++;
    }
    // Most damage leaves something to read, for nothing tells symbols from others.
    expect(readable).toBeGreaterThan(0);
  });

  test.each(kinds)("a payload $type that is cut, or has bytes too many", ({ type, name }) => {
    const { header, chunks } = unpack(files.blobOf(name));
    const payload = chunks.get(type)!;
    const readable = (data: Uint8Array) =>
      files.survives(() => read(files.pack([[type, data]], { ...header, space: 1 })));
    expect(readable(payload)).toBe(true);
    for (let length = 0; length < payload.length / 2; length++) {
      expect(readable(payload.subarray(0, length)), `${length} bytes`).toBe(false);
    }
    expect(readable(Buffer.concat([payload, Buffer.alloc(5)]))).toBe(false);
  });

  test.each(["S", "P"])("any payload %s", (type) => {
    const random = files.randomness(4);
    for (let round = 0; round < 1000; round++) {
      const payload = files.randomBytes(random, random(type === "S" ? 120 : 1200));
      const fineness = 1 + random(100);
      const [width, height] = [1 + random(70), 1 + random(70)];
      files.survives(() => read(files.pack([[type, payload]], { width, height, fineness })));
    }
  });

  test("of mutated bytes", () => {
    const random = files.randomness(5);
    const blob = files.blobOf("v5-opaque");
    for (let round = 0; round < 1000; round++) {
      const at = random(blob.length);
      const inserted = files.randomBytes(random, random(8));
      const rest = blob.subarray(at + random(8));
      files.survives(() => read(Buffer.concat([blob.subarray(0, at), inserted, rest])));
    }
  });

  test.each(["S", "P"])("a huge claim in %s is refused before memory is taken", (type) => {
    const bomb = files.pack([[type, new Uint8Array(1100)]], { width: 8000, height: 8000 });
    const before = process.memoryUsage().arrayBuffers;
    expect(() => read(bomb)).toThrow(BlobError);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1e6);
  });
});
