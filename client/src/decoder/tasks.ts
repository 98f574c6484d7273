/** What is done for a picture piece by piece: symbols to latents, or a tile to pixels. */

import type { Chunks, Header } from "../container";
import { type Latents, readLatents } from "../latent";
import { Prior } from "../prior";
import type { Scale } from "./layers";
import { Network } from "./network";
import type { Tile } from "./tiles";

/** What all tasks need. */
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

export type Perform = (task: Task) => Promise<Results[Task["kind"]]>;

export function performer({ kernels, weights, prior }: Equipment): Perform {
  const priors = Prior.load(kernels, prior);
  const network = Network.load(kernels, new Uint8Array(weights));
  return async (task) => {
    if (task.kind === "latents") return readLatents(task.header, task.chunks, await priors);
    const { inputs, around, inside } = task.tile;
    const { columns, rows, scale } = task;
    return (await network).decode(inputs, around, inside, columns, rows, scale);
  };
}
