/** One task at a time: symbols to latents, or a tile to pixels. */

import { BlobError, type Chunks, type Header } from "../container";
import { type Latents, readLatents } from "../latent";
import { Prior } from "../prior";
import type { Scale } from "./layers";
import { Network } from "./network";
import type { Tile } from "./tiles";

/** First message: what all tasks need. */
export interface Equipment {
  kernels: WebAssembly.Module;
  weights: ArrayBuffer;
  prior: ArrayBuffer;
}

export type Task =
  | { kind: "latents"; header: Header; chunks: Chunks }
  | { kind: "tile"; tile: Tile; rows: number; columns: number; scale: Scale };

/** Answer to a task of that kind. */
export interface Results {
  latents: Latents;
  /** RGBA of the tile's inside. */
  tile: Uint8ClampedArray<ArrayBuffer>;
}

/** Answer to every message but the first. Classes do not survive the journey between threads. */
export type Answer = { result: Results[Task["kind"]] } | { error: string; damaged: boolean };

let network: Promise<Network>;
let prior: Promise<Prior>;

onmessage = async ({ data }: MessageEvent<Equipment | Task>) => {
  if (!("kind" in data)) {
    prior = Prior.load(data.kernels, data.prior);
    network = Network.load(data.kernels, new Uint8Array(data.weights));
    return;
  }
  try {
    const result = await perform(data);
    const buffers =
      "symbols" in result
        ? [result.symbols.buffer, result.rounded.buffer, result.hints.buffer]
        : [result.buffer];
    answer({ result }, buffers);
  } catch (error) {
    answer({ error: String(error), damaged: error instanceof BlobError });
  }
};

async function perform(task: Task): Promise<Results[Task["kind"]]> {
  if (task.kind === "latents") return readLatents(task.header, task.chunks, await prior);
  const { inputs, around, inside } = task.tile;
  const { columns, rows, scale } = task;
  return (await network).decode(inputs, around, inside, columns, rows, scale);
}

function answer(message: Answer, transfer: ArrayBufferLike[] = []): void {
  postMessage(message, { transfer: transfer as ArrayBuffer[] });
}
