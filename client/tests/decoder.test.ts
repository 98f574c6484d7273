import { describe, expect, test } from "vitest";
import { unpack } from "../src/container";
import { type Scale, SCALES } from "../src/decoder/layers";
import { cut, tileOf } from "../src/decoder/tiles";
import { type Latents, readLatents } from "../src/latent";
import * as files from "./files";

const networks = await files.loadNetworks();

function latentsOf(name: string): Latents {
  const { header, chunks } = unpack(files.blobOf(name));
  return readLatents(header, chunks, files.PRIORS[header.space]);
}

/** uint8 (height, width, 3), in at least so many tiles. */
function decode(latents: Latents, scale: Scale, count: number, network = networks.sd1): Uint8Array {
  const { rows, columns } = latents;
  const cell = 8 / scale;
  const rgb = new Uint8Array(rows * cell * columns * cell * 3);
  for (const region of cut(latents, scale, count)) {
    const { inputs, around, inside } = tileOf(latents, region, scale);
    const rgba = network.decode(inputs, around, inside, columns, rows, scale);
    const width = (inside.right - inside.left) * cell;
    for (let pixel = 0; pixel < rgba.length / 4; pixel++) {
      const x = inside.left * cell + (pixel % width);
      const y = inside.top * cell + Math.floor(pixel / width);
      rgb.set(rgba.subarray(4 * pixel, 4 * pixel + 3), 3 * (y * columns * cell + x));
      expect(rgba[4 * pixel + 3]).toBe(255);
    }
  }
  return rgb;
}

function difference(one: Uint8Array, other: Uint8Array): { mean: number; max: number } {
  expect(one.length).toBe(other.length);
  let sum = 0;
  let max = 0;
  for (let at = 0; at < one.length; at++) {
    const distance = Math.abs(one[at]! - other[at]!);
    sum += distance;
    max = Math.max(max, distance);
  }
  return { mean: sum / one.length, max };
}

// Golden blobs hold noise, which no encoder would give the decoder: rounding shows there most.
// `order`: levels by which sums in another order may differ before they are rounded.
const TOLERANCE = {
  photograph: { order: 0.001, mean: 0.3, max: 3 },
  noise: { order: 0.01, mean: 3, max: 255 },
};

// The versions' golden blobs with latents are the same pictures.
describe.each(files.WITH_LATENTS.filter((name) => !/^v[34]-/.test(name)))("%s", (name) => {
  const latents = latentsOf(name);

  test.each(SCALES)("at 1/%i, as Python's decoder in float32", (scale) => {
    const pixels = decode(latents, scale, 1, networks[files.facts(name).space]);
    const { order, mean, max } = TOLERANCE[name.startsWith("v") ? "noise" : "photograph"];
    const levels = files.floatsOf(name, `${scale}.levels`);
    expect(pixels.length).toBe(levels.length);
    const furthest = pixels.reduce(
      (most, pixel, at) => Math.max(most, Math.abs(pixel - levels[at]!)),
      0,
    );
    expect(furthest).toBeLessThan(0.5 + order);
    const rounded = difference(pixels, files.bytes(`${name}.${scale}.rgb`));
    expect(rounded.mean).toBeLessThan(mean);
    expect(rounded.max).toBeLessThanOrEqual(max);
  });
});

describe("tiles", () => {
  const latents = latentsOf("coffee-50");

  test.each(SCALES)("at 1/%i join without a seam", (scale) => {
    const whole = decode(latents, scale, 1);
    expect(cut(latents, scale, 1)).toHaveLength(1);
    expect(cut(latents, scale, 4).length).toBeGreaterThanOrEqual(4);
    const joined = difference(decode(latents, scale, 4), whole);
    expect(joined.max).toBeLessThanOrEqual(1);
    expect(joined.mean).toBeLessThan(0.001);
  });

  test("of a picture of any shape cover it once", () => {
    for (const [rows, columns] of [
      [1, 1],
      [1, 5000],
      [300, 7],
      [129, 500],
    ] as const) {
      for (const scale of SCALES) {
        const area = cut({ ...latents, rows, columns }, scale, 4).reduce(
          (sum, { left, top, right, bottom }) => sum + (right - left) * (bottom - top),
          0,
        );
        expect(area).toBe(rows * columns);
      }
    }
  });
});
