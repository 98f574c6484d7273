import { describe, expect, test } from "vitest";
import { FILE_LENGTH, type Region, type Scale, SCALES, VALUES } from "../src/decoder/layers";
import { type Dispatch, plan, ROOM, tilesForGpu } from "../src/decoder/plan";
import { tileOf } from "../src/decoder/tiles";
import type { Latents } from "../src/latent";
import * as files from "./files";

/** What a dispatch reads and makes, in pixels of the picture at its resolution. */
function read({ numbers }: Dispatch, around: Region, columns: number) {
  const [width, height, left, top, right, bottom, ...others] = numbers as [
    ...[number, number, number, number, number, number],
    ...number[],
  ];
  const [originX, originY, targetWidth, targetHeight, pixelStride, quadStride] = others;
  const [inputs, outputs, shuffle, mode, scale] = others.slice(6);
  const resolution = width / (around.right - around.left);
  const made: Region = {
    left: around.left * resolution + left,
    top: around.top * resolution + top,
    right: around.left * resolution + right,
    bottom: around.top * resolution + bottom,
  };
  const target = { originX, originY, width: targetWidth!, height: targetHeight! };
  const layer = { inputs: inputs!, outputs: outputs!, shuffle: shuffle!, mode, scale: scale! };
  const strides = { pixelStride, quadStride };
  return {
    width,
    height,
    resolution,
    made,
    target,
    strides,
    columns: columns * resolution,
    ...layer,
  };
}

const latentsOf = (rows: number, columns: number): Latents => ({
  rows,
  columns,
  symbols: new Int16Array(),
  step: 1,
  rounded: new Float32Array(4 * rows * columns),
  hints: new Float32Array(8 * rows * columns),
});

const SHAPES = [
  [1, 1],
  [1, 700],
  [13, 29],
  [128, 128],
  [131, 257],
] as const;

describe.each(SCALES)("at 1/%i", (scale: Scale) => {
  test.each(SHAPES)("tiles of %i × %i latents cover them once and fit", (rows, columns) => {
    for (const room of [ROOM, ROOM / 2]) {
      const latents = latentsOf(rows, columns);
      let area = 0;
      for (const region of tilesForGpu(latents, scale, room)) {
        const { around, inside } = tileOf(latents, region, scale);
        area += (inside.right - inside.left) * (inside.bottom - inside.top);
        const size = (around.right - around.left) * (around.bottom - around.top);
        expect(size * VALUES[scale]).toBeLessThanOrEqual(room);
      }
      expect(area).toBe(rows * columns);
    }
  });

  test.each(SHAPES)("every step of %i × %i latents reads what is known", (rows, columns) => {
    const latents = latentsOf(rows, columns);
    for (const region of tilesForGpu(latents, scale, ROOM / 2)) {
      const tile = tileOf(latents, region, scale);
      const { around, inside } = tile;
      let known = around;
      let expectedSize = [around.right - around.left, around.bottom - around.top];
      let channels = 32;
      const dispatches = plan(tile, columns, rows, scale);
      for (const dispatch of dispatches) {
        const step = read(dispatch, around, columns);
        expect([step.width, step.height]).toEqual(expectedSize);
        expect(4 * step.inputs).toBe(channels);
        // A pixel more on each side, but for the picture's borders.
        expect(Math.max(0, step.made.left - 1)).toBeGreaterThanOrEqual(known.left);
        expect(Math.max(0, step.made.top - 1)).toBeGreaterThanOrEqual(known.top);
        expect(Math.min(step.columns, step.made.right + 1)).toBeLessThanOrEqual(known.right);
        expect(Math.min(rows * step.resolution, step.made.bottom + 1)).toBeLessThanOrEqual(
          known.bottom,
        );
        const [x, y, z] = dispatch.workgroups;
        expect(16 * x).toBeGreaterThanOrEqual(step.made.right - step.made.left);
        expect(16 * y).toBeGreaterThanOrEqual(step.made.bottom - step.made.top);
        expect(2 * z).toBeGreaterThanOrEqual(step.outputs);
        known = {
          left: step.made.left * step.shuffle,
          top: step.made.top * step.shuffle,
          right: step.made.right * step.shuffle,
          bottom: step.made.bottom * step.shuffle,
        };
        expectedSize = [step.target.width, step.target.height];
        channels = (4 * step.outputs) / step.shuffle ** 2;
      }
      const cell = 8 / scale;
      expect(known).toEqual({
        left: inside.left * cell,
        top: inside.top * cell,
        right: inside.right * cell,
        bottom: inside.bottom * cell,
      });
      expect(expectedSize).toEqual([
        (inside.right - inside.left) * cell,
        (inside.bottom - inside.top) * cell,
      ]);
      expect(channels).toBe(4);
    }
  });
});

test("all layers together take the whole file once", () => {
  const tile = tileOf(latentsOf(3, 2), { left: 0, top: 0, right: 2, bottom: 3 }, 1);
  const spans = new Map<number, number>();
  for (const scale of SCALES) {
    for (const dispatch of plan(tile, 2, 3, scale)) {
      const step = read(dispatch, tile.around, 2);
      spans.set(4 * step.scale, 32 * step.outputs + 9 * 16 * step.inputs * step.outputs);
    }
  }
  let end = 0;
  for (const [start, length] of [...spans].sort(([one], [other]) => one - other)) {
    expect(start).toBe(end);
    end += length;
  }
  expect(end).toBe(FILE_LENGTH);
  expect(end).toBe(files.bytes("../../src/decoder-sd1.bin").length);
});
