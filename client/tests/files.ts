/** What `expected.py` has written, and blobs that are made up. */

import { readdirSync, readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { BlobError, type Space } from "../src/container";
import type { Scale } from "../src/decoder/layers";
import { Network } from "../src/decoder/network";
import { Prior } from "../src/prior";

const FOLDER = new URL("./expected/", import.meta.url);

export interface Facts {
  width: number;
  height: number;
  space: Space;
  quality: number;
  fineness: number;
  model: string;
  has_latents: boolean;
  step: number;
  rows: number;
  columns: number;
  /** left, top, right, bottom; pixels. */
  patches?: [number, number, number, number][];
}

export const NAMES = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".limg"))
  .map((file) => file.slice(0, -".limg".length));

export const facts = (name: string): Facts =>
  JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));

export const WITH_LATENTS = NAMES.filter((name) => facts(name).has_latents);

export function bytes(file: string | URL): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(file, FOLDER)));
}

export const blobOf = (name: string) => bytes(`${name}.limg`);
export const symbolsOf = (name: string) => new Int16Array(bytes(`${name}.symbols`).buffer);
export const floatsOf = (name: string, kind: "rounded" | "hints" | `${Scale}.levels`) =>
  new Float32Array(bytes(`${name}.${kind}`).buffer);

export const KERNELS = new WebAssembly.Module(bytes("../../src/decoder/kernels.wasm"));
const SPACES: Space[] = ["sd1", "compact1"];
const ofEach = async <Kind>(load: (space: Space) => Promise<Kind>) =>
  Object.fromEntries(
    await Promise.all(SPACES.map(async (space) => [space, await load(space)])),
  ) as Record<Space, Kind>;
export const PRIORS = await ofEach((space) =>
  Prior.load(KERNELS, bytes(`../../src/prior-${space}.bin`).buffer),
);
export const loadNetworks = () =>
  ofEach((space) => Network.load(KERNELS, bytes(`../../src/decoder-${space}.bin`)));

type HeaderField = "version" | "flags" | "width" | "height" | "space" | "quality" | "fineness";

/** A blob of these chunks under right checksums. */
export function pack(
  chunks: Iterable<[string, Uint8Array]>,
  header: Partial<Record<HeaderField, number>> = {},
): Uint8Array {
  const head = Buffer.alloc(21);
  head.write("LIMG", "latin1");
  head.writeUInt8(header.version ?? 5, 4);
  head.writeUInt8(header.flags ?? 0, 5);
  head.writeUInt32BE(header.width ?? 24, 6);
  head.writeUInt32BE(header.height ?? 16, 10);
  head.writeUInt8(header.space ?? 1, 14);
  head.writeUInt8(header.quality ?? 50, 15);
  head.writeUInt8(header.fineness ?? 50, 16);
  head.write("0badcafe", 17, "hex");
  const parts: Uint8Array[] = [head, checksum(head)];
  for (const [type, payload] of chunks) {
    const start = Buffer.alloc(5);
    start.write(type, "latin1");
    start.writeUInt32BE(payload.length, 1);
    const chunk = Buffer.concat([start, payload]);
    parts.push(chunk, checksum(chunk));
  }
  return new Uint8Array(Buffer.concat(parts));
}

function checksum(data: Uint8Array): Buffer {
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(data));
  return crc;
}

/** Whether reading ended in a result; any other error than `BlobError` is thrown on. */
export function survives(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (error instanceof BlobError) return false;
    throw error;
  }
}

/** Seeded whole numbers from 0 to below `limit` (xorshift, Marsaglia 2003). */
export function randomness(seed: number): (limit: number) => number {
  let state = seed * 2654435769 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

export function randomBytes(random: (limit: number) => number, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}
