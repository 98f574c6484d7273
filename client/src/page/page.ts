/** What the loader imports where it is needed. */

export { Gallery } from "./gallery";
export { tryDecoder } from "./trial";
