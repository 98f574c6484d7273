import { describe, expect, test } from "vitest";
import { BlobError, PATCHES, unpack } from "../src/container";
import { whole } from "../src/embedded";
import { blend, type Patches, readPatches } from "../src/patches";
import * as files from "./files";

const PATCHED = files.NAMES.filter((name) => files.facts(name).patches);
const AVIF = files.NAMES.filter((name) => !files.facts(name).has_latents);
const [WIDTH, HEIGHT] = [96, 64];

function patchesOf(name: string): Patches {
  return readPatches(unpack(files.blobOf(name)).chunks.get(PATCHES)!, WIDTH, HEIGHT);
}

const withAlpha = (rgb: Uint8Array) =>
  Uint8ClampedArray.from({ length: (rgb.length / 3) * 4 }, (_, at) =>
    at % 4 === 3 ? 255 : rgb[Math.floor(at / 4) * 3 + (at % 4)]!,
  );

/** RGBA of a rectangle of a picture that is `width` pixels wide. */
function window(
  rgba: Uint8ClampedArray,
  width: number,
  { left, top, right, bottom }: Patches["patches"][number]["place"],
): Uint8ClampedArray {
  const rows = [];
  for (let y = top; y < bottom; y++) {
    rows.push(rgba.subarray(4 * (y * width + left), 4 * (y * width + right)));
  }
  return Uint8ClampedArray.from(rows.flatMap((row) => [...row]));
}

test("there is something to test with", () => {
  expect(PATCHED).toHaveLength(2);
  expect(AVIF).toHaveLength(2);
});

test.each(PATCHED)("patches of %s lie where Python says", (name) => {
  const { patches, atlas, width, height } = patchesOf(name);
  const places = patches.map(({ place: p }) => [p.left, p.top, p.right, p.bottom]);
  expect(places).toEqual(files.facts(name).patches);
  expect(3 * width * height).toBe(files.bytes(`${name}.atlas`).length);
  expect([...atlas]).toEqual([...files.bytes(`${name}.stored`)]);
});

test.each(PATCHED)("patches of %s are blended as Python does", (name) => {
  const { patches, width } = patchesOf(name);
  const under = withAlpha(files.bytes(`${name}.1.rgb`));
  const expected = withAlpha(files.bytes(`${name}.blended`));
  const atlas = withAlpha(files.bytes(`${name}.atlas`));
  for (const { place, top } of patches) {
    const { left, right } = place;
    const mixed = window(under, WIDTH, place);
    const cutting = { left: 0, top, right: right - left, bottom: top + place.bottom - place.top };
    expect(mixed).not.toEqual(window(expected, WIDTH, place));
    blend(mixed, window(atlas, width, cutting), place, WIDTH, HEIGHT, 1);
    expect(mixed).toEqual(window(expected, WIDTH, place));
  }
});

test.each([...PATCHED, ...AVIF])(
  "the picture stored in %s is the file that Python reads",
  (name) => {
    const { width, height } = files.facts(name).patches ? patchesOf(name) : files.facts(name);
    const file = whole(files.bytes(`${name}.stored`), width, height);
    expect([...file]).toEqual([...files.bytes(`${name}.file`)]);
    if (name.startsWith("v5")) expect(files.bytes(`${name}.stored`)[0]).toBe(0x81);
  },
);

describe("damage", () => {
  const payload = unpack(files.blobOf("v5-patched")).chunks.get(PATCHES)!;

  test("places that are cut are a BlobError", () => {
    for (let length = 0; length <= 17; length++) {
      const cut = payload.subarray(0, length);
      expect(() => readPatches(cut, WIDTH, HEIGHT), `${length} bytes`).toThrow(BlobError);
    }
  });

  test("a patch outside, without area, or an atlas too large is a BlobError", () => {
    const box = (...values: number[]) =>
      Uint8Array.from([values.length / 4, ...values.flatMap((value) => [0, value]), 0x81]);
    expect(readPatches(box(0, 0, 12, 8), WIDTH, HEIGHT).patches).toHaveLength(1);
    for (const bad of [box(1, 0, 12, 8), box(0, 1, 12, 8), box(0, 0, 0, 8), box(0, 0, 12, 0)]) {
      expect(() => readPatches(bad, WIDTH, HEIGHT)).toThrow(BlobError);
    }
    expect(() => readPatches(box(0, 0, 12, 8, 0, 0, 1, 1), WIDTH, HEIGHT)).toThrow("larger");
  });

  test("any bytes end in patches or a BlobError", () => {
    const random = files.randomness(6);
    for (let round = 0; round < 2000; round++) {
      const bytes = files.randomBytes(random, random(60));
      bytes[0] = random(4);
      files.survives(() => readPatches(bytes, 8 * 65535, 8 * 65535));
      whole(bytes, 8, 8);
    }
  });
});
