/** What other programs import: a blob's picture, in the browser. */

import { Pool } from "./decoder/pool";
import { decoder } from "./picture";

export { BlobError } from "./container";

/**
 * The picture, `width` pixels wide or in full; never scaled up. `only`: the latent space whose
 * decoder is there already: blobs of another are refused, and its decoder is not fetched.
 *
 * Rejects with `BlobError` where `blob` is damaged, with other errors where the decoder cannot be
 * loaded, or the browser has no canvas of that size.
 */
export const decode = decoder((equipment) => new Pool(equipment));
