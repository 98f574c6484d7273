/** The entry that keeps its name; what it leads to has a digest in its own. */

export { BlobError, decode } from "./decode";
