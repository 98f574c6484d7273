/** `npx vitest bench --run`: one thread, a photograph of 320 × 320 pixels. */

import { bench } from "vitest";
import { unpack } from "../src/container";
import { SCALES } from "../src/decoder/layers";
import { Network } from "../src/decoder/network";
import { cut, tileOf } from "../src/decoder/tiles";
import { readLatents } from "../src/latent";
import * as files from "./files";

const network = await Network.load(files.KERNELS, files.bytes("../../src/decoder-sd1.bin"));
const { header, chunks } = unpack(files.blobOf("coffee-50"));
const latents = readLatents(header, chunks, files.PRIORS.sd1);
const { rows, columns } = latents;

bench("blob to latents", () => {
  readLatents(header, chunks, files.PRIORS.sd1);
});
for (const scale of SCALES) {
  bench(`latents to pixels at 1/${scale}`, () => {
    for (const region of cut(latents, scale, 1)) {
      const { inputs, around, inside } = tileOf(latents, region, scale);
      network.decode(inputs, around, inside, columns, rows, scale);
    }
  });
}
