/** One task at a time, for a page. */

import { BlobError } from "../container";
import { type Equipment, type Perform, performer, type Results, type Task } from "./tasks";

/** Answer to every message but the first. Classes do not survive the journey between threads. */
export type Answer = { result: Results[Task["kind"]] } | { error: string; damaged: boolean };

let perform: Perform;

onmessage = async ({ data }: MessageEvent<Equipment | Task>) => {
  if (!("kind" in data)) {
    perform = performer(data);
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

function answer(message: Answer, transfer: ArrayBufferLike[] = []): void {
  postMessage(message, { transfer: transfer as ArrayBuffer[] });
}
